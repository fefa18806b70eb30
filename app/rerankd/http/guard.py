"""Who may call: the API key of every request to a route that doesn't say it is public.

    no key in force    whoever reaches the server ranks; this machine alone manages
    a key in force     every route asks for one, of the scope that the route needs

A route needs `manage` if it says so by `opt=MANAGEMENT`, `inference` if it takes POST, else any
key. Pages of other sites never manage, and rank without a key only from `cors_origins`. Without a
key the Host header must name this server, too.
"""

from __future__ import annotations

from typing import Any, cast

from litestar import Request
from litestar.config.cors import CORSConfig
from litestar.connection import ASGIConnection
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler

from rerankd.auth.keys import Caller, KeyStore
from rerankd.auth.rate_limits import RateLimiters
from rerankd.errors import Forbidden, SettingsError, Unauthorized
from rerankd.http.hosts import RELAY_HEADERS, HostNames, is_loopback, name_in
from rerankd.http.limits import LIMITER
from rerankd.settings import Settings
from rerankd.store import Scope

PUBLIC = "public"
SCOPE = "scope"
MANAGEMENT = {SCOPE: "manage"}

OWN_SITE = ("same-origin", "none")
"""What a browser says of its own pages, and of what a person typed."""

Connection = ASGIConnection[Any, Any, Any, Any]


class KeyGuard:
    """A Litestar guard, async since Litestar gives a thread to each that isn't."""

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        keys: KeyStore,
        rates: RateLimiters | None = None,
        cors: CORSConfig | None = None,
        hosts: HostNames | None = None,
        *,
        open_without_keys: bool = True,
        manageable: bool = True,
    ) -> None:
        """Callers without a key must address one of `hosts`.

        Unless `open_without_keys`, nobody is let in when the last key is gone. Unless
        `manageable`, nobody manages: this is one replica of many.
        """
        self._keys = keys
        self._rates = rates or RateLimiters()
        self._cors = cors
        self._hosts = hosts or HostNames(Settings())
        self._open = open_without_keys
        self._manageable = manageable

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Set the caller. Raises Unauthorized, Forbidden, RateLimited, StateError."""
        if handler.opt.get(PUBLIC):
            return
        await self._keys.refresh()
        caller = self._caller(connection)
        connection.scope["auth"] = caller
        needed = _scope_of(handler)
        self._require_own_site(connection, caller, needed)
        _require_scope(caller, needed)
        if needed == "manage" and not self._manageable:
            raise Forbidden("this is one of several replicas; manage them with `rerankd ray`")
        if needed == "inference":
            self._admit(connection, caller)

    def _caller(self, connection: Connection) -> Caller:
        if self._open and not self._keys.requires_key:
            self._require_known_host(connection.headers.get("host", ""))
            return _anonymous(connection)
        key = presented_key(connection.headers)
        if key is None:
            raise Unauthorized(
                "an API key is required: send it as `Authorization: Bearer …` or `X-API-Key`"
            )
        return self._keys.caller(key)

    def _require_known_host(self, host: str) -> None:
        if not self._hosts.allow(host):
            raise Forbidden(
                f"this server has no API key and does not know the host {name_in(host)!r}; "
                "add that name to allowed_hosts, or create a key"
            )

    def _require_own_site(self, connection: Connection, caller: Caller, needed: str | None) -> None:
        if not _is_foreign(connection.headers):
            return
        if needed == "manage":
            raise Forbidden("pages of other sites cannot manage this server")
        # A key shows that the page was given one: no browser adds it by itself.
        if not caller.keyed and not self._is_allowed(connection.headers.get("origin", "")):
            raise Forbidden("pages of other sites cannot use this server; see cors_origins")

    def _is_allowed(self, origin: str) -> bool:
        return self._cors is not None and self._cors.is_origin_allowed(origin)

    def _admit(self, connection: Connection, caller: Caller) -> None:
        limiter = self._rates.of(caller.id, caller.limits)
        if limiter:
            connection.scope["state"][LIMITER] = limiter
            limiter.admit(self._rates.clock())


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """Return who calls, as the guard found out."""
    return cast("Caller", request.scope["auth"])


def presented_key(headers: Any) -> str | None:
    """Return the key of a request: a bearer token in any case, else X-API-Key or api-key."""
    scheme, _, token = str(headers.get("authorization", "")).partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    own = headers.get("x-api-key") or headers.get("api-key")
    return str(own).strip() if own else None


def _scope_of(handler: BaseRouteHandler) -> Scope | None:
    needed: Scope | None = handler.opt.get(SCOPE)
    if needed is None and isinstance(handler, HTTPRouteHandler) and "POST" in handler.http_methods:
        return "inference"
    return needed


def _require_scope(caller: Caller, needed: Scope | None) -> None:
    if needed is None or needed in caller.scopes:
        return
    if caller.keyed:
        raise Forbidden(f"this API key does not have the scope {needed!r}")
    raise Forbidden("models can be managed only from this machine, or with an API key")


def _anonymous(connection: Connection) -> Caller:
    """Return a caller without a key: one on this machine may manage as well."""
    client, headers = connection.client, connection.headers
    # The name as well: another site's name may have been made to lead to this machine.
    named = is_loopback(name_in(headers.get("host", "")))
    if client and is_loopback(client.host) and named and not _is_relayed(headers):
        return Caller()
    return Caller(scopes=("inference",))


def _is_foreign(headers: Any) -> bool:
    """Return whether a browser sends this for another site's page.

    Browsers say so themselves where the address is a trustworthy one; elsewhere the page's
    origin is compared with the name that the request was sent to.
    """
    site = headers.get("sec-fetch-site")
    if site:
        return site not in OWN_SITE
    origin = headers.get("origin")
    return bool(origin) and origin.partition("://")[2] != headers.get("host")


def _is_relayed(headers: Any) -> bool:
    """Return whether a proxy on this machine sent this without saying for whom."""
    return "x-forwarded-for" not in headers and any(name in headers for name in RELAY_HEADERS)


def cors_of(settings: Settings) -> CORSConfig | None:
    """Return what other sites' pages may do: nothing unless `cors_origins` names them."""
    if not settings.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.cors_origins),
        allow_methods=["GET", "POST"],
        expose_headers=["Retry-After", "Server-Timing", "X-Request-Id", "X-Rerankd-Warning"],
    )


def is_open_without_keys(settings: Settings) -> bool:
    """Return whether a server without any key answers: where only this machine reaches it."""
    return settings.no_auth or is_loopback(settings.host)


def require_safe_binding(settings: Settings, *, keyed: bool = False) -> None:
    """Raise SettingsError when anyone on the network could call without a key."""
    if settings.api_keys or keyed or is_open_without_keys(settings):
        return
    raise SettingsError(
        f"host {settings.host} can be reached from outside and there is no API key; "
        "create one with `rerankd keys create`, set RERANKD_API_KEYS, or pass --no-auth "
        "to allow that",
        param="host",
    )
