"""Which names in the Host header a server without keys answers to, and what proxies may say."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from rerankd.errors import SettingsError
from rerankd.http.application import create_app
from rerankd.http.hosts import RELAY_HEADERS, HostNames
from rerankd.http.server import Server
from rerankd.settings import Settings, load_settings

from support.fakes import PATIENCE
from support.serving import server_of, service_of

pytestmark = pytest.mark.slow

LOCAL = ("localhost", "LocalHost:8100", "localhost.", "127.0.0.1:8100", "127.8.9.1", "[::1]:8100")
ADDRESSES = ("192.0.2.7:8100", "[2001:db8::7]", "0.0.0.0:8100")
NETWORK = ("rerankd:8100", "nas.local", "host.docker.internal", "rerankd.ml.svc.cluster.local")
PUBLIC = ("rerankd.example", "localhost.example", "127.0.0.1.example", "a.internal.example", "[x")


@pytest.mark.parametrize("host", [*LOCAL, *ADDRESSES, ""])
@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::1", "localhost"])
def test_addresses_and_loopback_names_are_always_known(host: str, bound: str) -> None:
    """No page can have them lead elsewhere; only programs leave the header out."""
    assert HostNames(Settings(host=bound)).allow(host)


@pytest.mark.parametrize("host", NETWORK)
def test_names_of_a_network_are_known_to_servers_on_it(host: str) -> None:
    """Compose and Kubernetes address services so; a server on loopback has no such name."""
    assert HostNames(Settings(host="0.0.0.0")).allow(host)
    assert not HostNames(Settings(host="127.0.0.1")).allow(host)


@pytest.mark.parametrize("host", PUBLIC)
def test_names_that_anybody_may_own_need_the_setting(host: str) -> None:
    """Wherever the server listens."""
    for bound in ("127.0.0.1", "0.0.0.0"):
        assert not HostNames(Settings(host=bound)).allow(host)
    named = Settings(host="0.0.0.0", allowed_hosts=("Rerankd.Example", "other.example"))
    assert HostNames(named).allow(host) is (host == "rerankd.example")
    assert HostNames(Settings(allowed_hosts=("*",))).allow(host)


def test_the_name_it_listens_on_is_its_own() -> None:
    """Whoever binds to a name has said that it is this machine's."""
    assert HostNames(Settings(host="search.example")).allow("search.example:8100")


@pytest.mark.parametrize("entry", ["https://a.example", "a.example:8100", "*.example", ""])
def test_an_entry_that_could_never_match_is_refused(entry: str) -> None:
    """At start, by name."""
    with pytest.raises(SettingsError, match="allowed_hosts"):
        load_settings(flags={"allowed_hosts": [entry]})


# What proxies say


def me(client: httpx.Client, headers: dict[str, str]) -> Any:
    return client.get("/v1/me", headers=headers).json()["scopes"]


@pytest.mark.parametrize("header", [*RELAY_HEADERS, "X-Forwarded-For"])
def test_a_request_that_a_proxy_relays_is_not_this_machines(header: str) -> None:
    """A proxy on the same machine passes on what strangers send."""
    with server_of(service_of()) as url, httpx.Client(base_url=url, timeout=PATIENCE) as client:
        assert "manage" in me(client, {})
        assert me(client, {header: "192.0.2.7"}) == ["inference"]


@pytest.mark.parametrize("trusted", ["*", "0.0.0.0/0"])
def test_no_header_or_variable_makes_a_stranger_local(
    monkeypatch: pytest.MonkeyPatch, trusted: str
) -> None:
    """uvicorn would let this variable name proxies whose word counts."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    names = ("X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host", "X-Client-IP", "True-Client-IP")
    claims = ({"Forwarded": "for=127.0.0.1"}, *({name: "127.0.0.1"} for name in names))
    assert asked_from("192.0.2.7", *claims) == [["inference"]] * len(claims)


@pytest.mark.parametrize("proxy", ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"])
def test_a_proxy_on_this_machine_says_who_asks(proxy: str) -> None:
    """By whichever loopback address it comes; the client's own claims stand before its word."""
    both = ["inference", "manage"]
    claims = ({}, {"X-Forwarded-For": "192.0.2.7"}, {"X-Forwarded-For": "127.0.0.1, 192.0.2.7"})
    assert asked_from(proxy, *claims) == [both, ["inference"], ["inference"]]


def asked_from(address: str, *each: dict[str, str]) -> list[list[str]]:
    """Return what a caller from an address may do with each of these headers."""
    service = service_of(no_auth=True, host="0.0.0.0")

    async def ask() -> list[list[str]]:
        config = Server(create_app(service), service).config
        config.load()
        app: Any = config.loaded_app
        transport = httpx.ASGITransport(app, client=(address, 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answers = [await client.get("/v1/me", headers=headers) for headers in each]
        await service.close()
        return [one.json()["scopes"] for one in answers]

    return asyncio.run(ask())
