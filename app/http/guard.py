"""Who may call: API keys, checked for every route that doesn't say it is public."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from app.errors import SettingsError, Unauthorized
from app.settings import Settings

PUBLIC = "public"


class KeyGuard:
    """A Litestar guard that knows only the digests of the keys it accepts."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Raise Unauthorized unless the route is public, no keys are set, or the key is one."""
        if not self._digests or handler.opt.get(PUBLIC):
            return
        key = presented_key(connection.headers)
        if key is None:
            raise Unauthorized(
                "an API key is needed: send it as `Authorization: Bearer …` or `X-API-Key`"
            )
        if not self.accepts(key):
            raise Unauthorized("the API key is not valid")

    def accepts(self, key: str) -> bool:
        """Compare with every key, in a time that tells nothing about them."""
        found = _digest(key)
        matches = [hmac.compare_digest(found, digest) for digest in self._digests]
        return any(matches)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def presented_key(headers: Any) -> str | None:
    """Return the key of a request: a bearer token in any case, else X-API-Key."""
    scheme, _, token = str(headers.get("authorization", "")).partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    own = headers.get("x-api-key")
    return str(own).strip() if own else None


def require_safe_binding(settings: Settings) -> None:
    """Raise SettingsError when anyone on the network could call without a key."""
    if settings.api_keys or settings.no_auth or is_loopback(settings.host):
        return
    raise SettingsError(
        f"host {settings.host} can be reached from outside and no API key is set; "
        "set RERANKD_API_KEYS, or say --no-auth if that is meant",
        param="host",
    )


def is_loopback(host: str) -> bool:
    """Tell whether an address or name can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
