"""The Hub's client gets our rule for proxies once, however many downloads begin together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import huggingface_hub
import pytest

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
