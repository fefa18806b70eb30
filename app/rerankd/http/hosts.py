"""Which Host headers a server without keys answers, so that no web page reaches it by a name.

A page can have its own name lead to this machine or its network ("DNS rebinding"); the browser then
takes this server for the page's own site, and only the Host header still shows the page's name.
"""

from __future__ import annotations

import ipaddress
import re

from rerankd.settings import Settings

ANY_HOST = "*"
NEVER_PUBLIC = (".local", ".internal", ".home.arpa")
"""Domains that public DNS never has, so nobody on the internet can own a name there."""
RELAY_HEADERS = ("forwarded", "via", "x-real-ip", "x-forwarded-host")
"""Headers that a proxy adds; uvicorn itself reads X-Forwarded-For."""
LOOPBACK = "127.0.0.0/8,::1,::ffff:127.0.0.0/104"
"""All that `is_loopback` holds for, as uvicorn takes it: proxies whose word on clients counts."""

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^][:@/?#\s]+))(?::\d*)?")


class HostNames:
    """The names by which a server without keys may be addressed."""

    def __init__(self, settings: Settings) -> None:
        self._named = {one.lower().rstrip(".") for one in (*settings.allowed_hosts, settings.host)}
        self._any = ANY_HOST in settings.allowed_hosts
        self._local = is_loopback(settings.host)

    def allow(self, host: str) -> bool:
        """Return whether a Host header names this server; browsers never leave it out.

        Addresses are safe, since no page can change where one leads. A server on the network
        is also reached by names that only its own network knows.
        """
        if self._any or not host:
            return True
        name = name_in(host)
        if name in self._named or is_loopback(name) or _is_address(name):
            return True
        return not self._local and _is_network_name(name)


def name_in(host: str) -> str:
    """Return a Host header's name in lower case, without port; nothing where it makes no sense."""
    found = _HOST.fullmatch(host.lower())
    return (found[1] or found[2]).rstrip(".") if found else ""


def is_loopback(host: str) -> bool:
    """Return whether an address or name can only be reached from this machine."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    # A socket for both families shows IPv4 addresses within IPv6; Pythons differ about those.
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_network_name(name: str) -> bool:
    return bool(name) and ("." not in name or name.endswith(NEVER_PUBLIC))
