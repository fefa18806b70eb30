"""Which hosts pictures are fetched from, and at which addresses these may be.

A server that fetches what strangers name can be made to ask its own network for them. So a host
has to be listed, and all its addresses have to be public unless it is listed with its own.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct

from rerankd.errors import PictureNotFetched, SettingsError

HTTPS_PORT = 443
LAST_PORT = 65535
ENTRY = re.compile(
    r"(?P<host>\*|(\*\.)?[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(:(?P<port>[0-9]{1,5}))?(=(?P<network>[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?))?\Z"
)
"""`*`, a name, `*.` and a name, or an address; maybe a port; maybe the network it is in."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class HostRule(Struct, frozen=True):
    """One entry of `picture_hosts`."""

    host: str
    port: int
    network: Network | None
    """Where the host may be; None: at any public address."""

    def covers(self, host: str, port: int) -> bool:
        """Return whether the entry is about a host and a port."""
        if port != self.port:
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return self.host in {"*", host}

    def allows(self, address: Address) -> bool:
        """Return whether the host may be at an address."""
        return address in self.network if self.network else is_on_internet(address)


def host_rules(entries: Sequence[str]) -> tuple[HostRule, ...]:
    """Return the rules of `picture_hosts`. Raises SettingsError."""
    return tuple(_host_rule(entry) for entry in entries)


def _host_rule(entry: str) -> HostRule:
    found = ENTRY.match(entry)
    try:
        rule = _read(found) if found else None
    except ValueError:  # no address, or no network
        rule = None
    if rule is None or rule.port > LAST_PORT:
        raise SettingsError(
            f"picture_hosts: {entry!r} is no host: example.org, *.example.org, example.org:8443,"
            " example.org=10.0.0.5 or *",
            param="picture_hosts",
        )
    return rule


def _read(found: re.Match[str]) -> HostRule:
    host = found["host"].strip("[]").lower()
    network = found["network"] or (host if _is_ip(host) else None)
    return HostRule(
        host,
        int(found["port"] or HTTPS_PORT),
        ipaddress.ip_network(network, strict=False) if network else None,
    )


def rule_for(rules: Sequence[HostRule], host: str, port: int) -> HostRule:
    """Return the first rule about a host and a port. Raises PictureNotFetched where none is."""
    name = host.lower().rstrip(".")
    for rule in rules:
        if rule.covers(name, port):
            return rule
    if not rules:
        raise PictureNotFetched(
            "has an address, and this server fetches none (picture_hosts); send base64 or a data:"
            " URI"
        )
    raise PictureNotFetched("is at a host that is not among picture_hosts")


def is_on_internet(address: Address) -> bool:
    """Return whether an address is on the internet, and so is the one within it, if there is."""
    inner = address
    if isinstance(address, ipaddress.IPv6Address):
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        inner = address.ipv4_mapped or address.sixtofour or inner
        if address.teredo:
            return False
    return inner.is_global and not inner.is_multicast


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
