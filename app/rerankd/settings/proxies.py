"""Which proxy a request goes through, by the environment's variables.

HTTP clients differ about NO_PROXY, raise on what others accept, and send requests to this machine
through a proxy. This is the one rule of every client here, as curl has it: `http_proxy`,
`https_proxy` and `all_proxy`, in lower case first, then in capitals; `no_proxy` with names, their
subdomains, addresses (also in brackets), networks (10.0.0.0/8), ports, and `*`. Besides, this
machine is never reached through a proxy.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from rerankd.errors import SettingsError

PORTS = {"http": 80, "https": 443}
SOCKS = frozenset({"socks5", "socks5h"})


def proxy_of(url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the address of the proxy for a URL, None for none.

    Raises SettingsError, which names the variable and not its value (it may hold a password).
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if is_this_machine(host):
        return None
    variable = _variable(parts.scheme, environment)
    if variable is None:
        return None
    passed_over = _value("no_proxy", environment)
    if any(_covers(entry, host, parts.port or PORTS.get(parts.scheme)) for entry in passed_over):
        return None
    return _checked(variable, environment[variable])


def is_http_address(url: str) -> bool:
    """Return whether a URL is a complete http or https address, its port a number."""
    try:
        parts = urlsplit(url)
        httpx.URL(url)
        return parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        return False


def require_hub_variables(environment: Mapping[str, str] = os.environ) -> None:
    """Check the variables that the Hub's client reads when it is imported, where it would raise.

    Raises SettingsError with the variable's name.
    """
    address = environment.get("HF_ENDPOINT")
    if address is not None and not is_http_address(address):
        raise SettingsError("HF_ENDPOINT: not an http:// or https:// address", param="HF_ENDPOINT")
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        if not environment.get(name, "0").strip().isdecimal():
            raise SettingsError(f"{name}: not a whole number of seconds", param=name)


def is_this_machine(host: str) -> bool:
    """Return whether a host can only be this machine: localhost, a loopback or no address."""
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _variable(scheme: str, environment: Mapping[str, str]) -> str | None:
    names = (f"{scheme}_proxy", "all_proxy")
    spelled = (spelling for name in names for spelling in (name, name.upper()))
    return next((name for name in spelled if environment.get(name, "").strip()), None)


def _value(name: str, environment: Mapping[str, str]) -> list[str]:
    found = environment.get(name) or environment.get(name.upper()) or ""
    return found.replace(",", " ").split()


def _covers(entry: str, host: str, port: int | None) -> bool:
    """Return whether an entry of NO_PROXY holds for a host; what can't be read holds for none."""
    if entry == "*":
        return True
    name, its_port = _without_port(entry)
    if its_port not in {None, port}:
        return False
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(name, strict=False)
        except ValueError:
            return False
    name = name.lower().removeprefix("*").removeprefix(".").rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _without_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, port = entry.partition(":")
    else:
        name, port = entry, ""
    return name, int(port) if port.isdecimal() else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _checked(variable: str, value: str) -> str:
    value = value.strip()
    proxy = value if "://" in value else f"http://{value}"
    try:
        parsed = urlsplit(proxy)
        httpx.URL(proxy)
    except (ValueError, httpx.InvalidURL) as error:
        raise SettingsError(f"{variable}: not the address of a proxy", param=variable) from error
    if parsed.scheme in SOCKS:
        if importlib.util.find_spec("socksio") is None:
            raise SettingsError(
                f"{variable}: a SOCKS proxy needs the package socksio (pip install socksio); "
                "or set https_proxy to an HTTP proxy",
                param=variable,
            )
    elif parsed.scheme not in PORTS or not parsed.hostname:
        raise SettingsError(
            f"{variable}: not the address of an HTTP or SOCKS5 proxy", param=variable
        )
    return proxy


class ProxiedTransport(httpx.BaseTransport):
    """Sends each request directly or through the environment's proxy for it.

    `library` is httpx or one with the same names: the Hub's client brings its own.
    """

    def __init__(self, library: Any = httpx, environment: Mapping[str, str] = os.environ) -> None:
        self._library = library
        self._environment = environment
        self._made: dict[str | None, Any] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises SettingsError for a variable that names no usable proxy."""
        proxy = proxy_of(str(request.url), self._environment)
        if proxy not in self._made:
            self._made[proxy] = self._library.HTTPTransport(proxy=proxy)
        response: httpx.Response = self._made[proxy].handle_request(request)
        return response

    def close(self) -> None:
        """Close all connections."""
        for transport in self._made.values():
            transport.close()


class AsyncProxiedTransport(httpx.AsyncBaseTransport):
    """The same for asynchronous clients."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._made: dict[str | None, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises SettingsError for a variable that names no usable proxy."""
        proxy = proxy_of(str(request.url), self._environment)
        if proxy not in self._made:
            self._made[proxy] = httpx.AsyncHTTPTransport(proxy=proxy)
        return await self._made[proxy].handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._made.values():
            await transport.aclose()
