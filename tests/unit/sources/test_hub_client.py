"""The Hub's client gets our rule for proxies once, however many downloads begin together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import huggingface_hub
import pytest
from huggingface_hub import constants

from rerankd.sources.hub import client

PATIENCE = 60.0


def test_downloads_that_begin_together_set_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting it closes the client that was there, which another download may be using."""
    calls: list[object] = []
    entered, go = threading.Event(), threading.Event()

    def slow(factory: object) -> None:
        calls.append(factory)
        entered.set()
        assert go.wait(PATIENCE)

    monkeypatch.setattr(huggingface_hub, "set_client_factory", slow)
    client._set_factory.cache_clear()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(client.apply_proxy_rule)
        assert entered.wait(PATIENCE)
        others = [pool.submit(client.apply_proxy_rule) for _ in range(3)]
        go.set()
        for one in (first, *others):
            one.result(PATIENCE)
    client._set_factory.cache_clear()

    assert calls == [client._new_client]


class AskedRequest:
    """What the HTTP library hands to its hooks, as far as it is used."""

    def __init__(self, connect: float | None) -> None:
        self.extensions = {"timeout": {"connect": connect, "read": 10.0}}


@pytest.mark.parametrize(
    ("given", "patience", "expected"),
    [(10.0, 10, 2.5), (None, 10, 2.5), (1.0, 10, 1.0), (30.0, 30, 30.0)],
)
def test_a_hub_out_of_reach_is_given_up_soon(
    monkeypatch: pytest.MonkeyPatch, given: float | None, patience: int, expected: float
) -> None:
    """Connecting takes a moment or never; who sets HF_HUB_ETAG_TIMEOUT higher is let wait."""
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", patience)
    request = AskedRequest(given)
    client.bound_connecting(request)
    assert request.extensions["timeout"] == {"connect": expected, "read": 10.0}


def test_the_client_s_requests_are_bounded() -> None:
    """By the hook that its own factory's client has, beside its own."""
    made = client._new_client()
    assert client.bound_connecting in made.event_hooks["request"]
    made.close()
