"""Which hosts are asked for pictures, and at which addresses."""

from __future__ import annotations

import ipaddress

import pytest

from rerankd.errors import PictureNotFetched, SettingsError
from rerankd.pictures.hosts import host_rules, is_on_internet, rule_for

PUBLIC = ("93.184.216.34", "2606:2800:220:1::1")
PRIVATE = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1"),
    *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1"),
    *(
        "64:ff9b::a00:1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    """What anybody could ask is public."""
    assert is_on_internet(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_of_a_network_of_ones_own_is_on_internet(address: str) -> None:
    """Neither this machine nor its networks, the clouds' metadata, or what leads to them."""
    assert not is_on_internet(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("example.org", "example.org", 443),
        ("Example.org", "EXAMPLE.ORG.", 443),
        ("*.example.org", "a.b.example.org", 443),
        ("*", "anything.example", 443),
        ("example.org:8443", "example.org", 8443),
        ("10.0.0.5", "10.0.0.5", 443),
        ("[::1]:9", "::1", 9),
    ],
)
def test_a_listed_host_is_asked(entry: str, host: str, port: int) -> None:
    """A name counts in any case, a star for all below it, a port where it is given."""
    assert rule_for(host_rules([entry]), host, port)


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("example.org", "www.example.org", 443),
        ("*.example.org", "example.org", 443),
        ("*.example.org", "badexample.org", 443),
        ("example.org", "example.org.evil.net", 443),
        ("example.org", "example.org", 8443),
        ("*", "example.org", 22),
        ("10.0.0.5", "10.0.0.50", 443),
    ],
)
def test_no_other_host_is_asked(entry: str, host: str, port: int) -> None:
    """What only looks like a listed host is none."""
    with pytest.raises(PictureNotFetched, match="not among picture_hosts"):
        rule_for(host_rules([entry]), host, port)


def test_without_hosts_nothing_is_fetched() -> None:
    """That is the default, and the error says what to do instead."""
    with pytest.raises(PictureNotFetched, match=r"fetches none \(picture_hosts\); send base64"):
        rule_for((), "example.org", 443)


def test_a_host_with_an_address_may_be_there_alone() -> None:
    """An entry with an address or a network allows exactly that."""
    (plain,) = host_rules(["intranet.example"])
    (listed,) = host_rules(["intranet.example=10.0.0.0/8"])
    (literal,) = host_rules(["10.0.0.5"])
    private, other = ipaddress.ip_address("10.0.0.5"), ipaddress.ip_address("93.184.216.34")

    assert not plain.allows(private)
    assert plain.allows(other)
    assert listed.allows(private)
    assert not listed.allows(other)
    assert literal.allows(private)


@pytest.mark.parametrize(
    "entry",
    ["", "https://example.org", "example.org/a", "a b", "x:99999", "x=10.0.0", "*.*.x", "x="],
)
def test_an_entry_that_is_no_host_is_a_wrong_setting(entry: str) -> None:
    """Entries are checked when the server starts, not with the first picture."""
    with pytest.raises(SettingsError, match="is no host") as caught:
        host_rules([entry])

    assert caught.value.param == "picture_hosts"
