"""The guard and the routes of keys: over real requests, with keys that come, go and have limits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.testing import TestClient
from litestar.types import ASGIApp, Receive, Scope, Send

from rerankd.auth.keys import KeyStore, keep_key, key_store_of, make_key
from rerankd.errors import SettingsError
from rerankd.http.application import create_app
from rerankd.http.guard import require_safe_binding
from rerankd.service import Service
from rerankd.settings import Settings
from rerankd.store import STATE_FILE, Store

from support.fakes import PATIENCE, Gate
from support.serving import FakeEngine, rerank, server_of, service_of

PANDA = {"query": "q", "documents": ["a", "b c"]}


def calling_from(address: str, app: ASGIApp) -> ASGIApp:
    """Return an application whose callers have this address."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["client"] = (address, 50000)
        await app(scope, receive, send)

    return called


@contextmanager
def local_client(
    service: Service | None = None, ring: KeyStore | None = None, **settings: Any
) -> Iterator[TestClient[Any]]:
    """Yield a client on this machine."""
    service = service or service_of(**settings)
    app = calling_from("127.0.0.1", create_app(service, ring=ring))
    url = "http://127.0.0.1:8100"
    with TestClient(app, base_url=url, raise_server_exceptions=False) as client:
        yield client
    asyncio.run(service.close())


def made(client: TestClient[Any] | httpx.Client, by: str = "", **body: Any) -> dict[str, Any]:
    """Make a key over HTTP."""
    response = client.post("/v1/keys", json={"name": "k", **body}, headers=bearer(by))
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def code(response: httpx.Response) -> tuple[int, str]:
    """Return an answer's status and error code."""
    return response.status_code, response.json()["error"]["code"]


# From no key to the last


def test_the_first_key_closes_the_server_and_the_last_one_opens_it_again() -> None:
    """The whole life of a server's keys."""
    with local_client() as client:
        me = client.get("/v1/me").json()
        both = ["inference", "manage"]
        assert me == {"id": "", "name": "", "scopes": both, "models": None, "keyed": False}
        assert client.get("/v1/keys").json() == {"object": "list", "data": []}
        assert client.get("/openapi.json").json()["security"] == []

        first = made(client, name="boss", scopes=both)
        assert first["key"].startswith(first["prefix"])
        assert client.get("/v1/me").status_code == 401
        assert client.post("/v1/rerank", json=PANDA).status_code == 401
        assert client.get("/openapi.json").json()["security"]

        boss = bearer(first["key"])
        assert client.get("/v1/me", headers=boss).json() == {
            "id": first["id"],
            "name": "boss",
            "scopes": both,
            "models": None,
            "keyed": True,
        }
        (listed,) = client.get("/v1/keys", headers=boss).json()["data"]
        assert listed.pop("last_used") >= listed["created"]
        assert listed.items() <= first.items()
        assert "key" not in listed

        answer = client.delete(f"/v1/keys/{first['id']}", headers=boss)
        assert answer.json() == {"id": first["id"], "deleted": True}
        assert client.get("/v1/me").json()["keyed"] is False
        assert client.get("/v1/keys").json()["data"][0]["revoked"]
        assert code(client.delete(f"/v1/keys/{first['id']}")) == (404, "not_found")


def test_the_answer_with_the_key_is_not_to_be_stored() -> None:
    """No cache keeps it."""
    with local_client(api_keys=("k",)) as client:
        response = client.post("/v1/keys", json={"name": "n"}, headers=bearer("k"))
        assert response.headers["cache-control"] == "no-store"


def test_the_first_key_must_be_able_to_manage() -> None:
    """Otherwise nobody could make a second one over HTTP, or revoke it."""
    with local_client() as client:
        refused = client.post("/v1/keys", json={"name": "n", "scopes": ["inference"]})
        assert code(refused) == (400, "invalid_request")
        assert refused.json()["error"]["param"] == "scopes"
        boss = made(client, scopes=["manage"])["key"]
        assert made(client, boss)["scopes"] == ["inference"]


def test_a_key_of_the_settings_is_listed_and_stays() -> None:
    """It shows nothing of itself and can only be taken out of the settings."""
    with local_client(api_keys=("a secret",)) as client:
        response = client.get("/v1/keys", headers=bearer("a secret"))
        (found,) = response.json()["data"]
        assert (found["name"], found["prefix"]) == ("from settings", "")
        assert "secret" not in response.text
        refused = client.delete(f"/v1/keys/{found['id']}", headers=bearer("a secret"))
        assert code(refused) == (409, "conflict")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "n", "expires": 1}, "expires"),
        ({"name": "n", "expires": -1}, "expires"),
        ({"name": "n", "expires": "tomorrow"}, "expires"),
        ({"name": "n", "scopes": []}, "scopes"),
        ({"name": "n", "scopes": ["root"]}, "scopes[0]"),
        ({"name": "n", "models": []}, "models"),
        ({"name": "n", "models": ["../x"]}, "models[0]"),
        ({"name": "n", "requests_per_minute": -1}, "requests_per_minute"),
        ({"name": "n", "tokens_per_minute": 1.5}, "tokens_per_minute"),
        ({"name": "n", "admin": True}, "admin"),
    ],
)
def test_a_key_that_can_not_be_is_refused(body: dict[str, Any], param: str) -> None:
    """400 with the field's path, and nothing is made."""
    with local_client(api_keys=("k",)) as client:
        refused = client.post("/v1/keys", json=body, headers=bearer("k"))
        assert code(refused) == (400, "invalid_request")
        assert param in f"{refused.json()['error']['param']} {refused.json()['error']['message']}"
        assert len(client.get("/v1/keys", headers=bearer("k")).json()["data"]) == 1


# How a key is sent, and from where


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer k"},
        {"authorization": "bEARER   k "},
        {"X-API-Key": "k"},
        {"api-key": " k "},
        {"Authorization": "Bearer k", "X-API-Key": "other"},
        {"Authorization": "Basic eA==", "api-key": "k"},
    ],
)
def test_every_usual_header_carries_a_key(headers: dict[str, str]) -> None:
    """A bearer token comes first, then X-API-Key, then Azure's api-key."""
    with local_client(api_keys=("k",)) as client:
        assert client.get("/v1/models", headers=headers).status_code == 200


def test_a_caller_from_the_network_ranks_but_does_not_manage_without_keys() -> None:
    """Where no_auth opens a server, management stays with its own machine."""
    service = service_of(no_auth=True, host="0.0.0.0")
    with TestClient(calling_from("192.0.2.7", create_app(service))) as client:
        assert client.get("/v1/me").json()["scopes"] == ["inference"]
        assert client.post("/v1/rerank", json=PANDA).status_code == 200
        assert code(client.get("/v1/keys")) == (403, "forbidden")
    asyncio.run(service.close())


def test_a_server_on_the_network_never_opens_when_its_keys_are_gone(tmp_path: Path) -> None:
    """It was started with a key; without one, nobody gets in until another is made."""
    store = Store(tmp_path)
    key, text = make_key("k", now=time.time())
    keep_key(store, key, time.time())
    settings = Settings(host="0.0.0.0", state_dir=str(tmp_path))
    ring = key_store_of(settings, store)
    with pytest.raises(SettingsError, match="rerankd keys create"):
        require_safe_binding(settings, keyed=ring.requires_key)
    ring.load()
    require_safe_binding(settings, keyed=ring.requires_key)

    with local_client(service_of(host="0.0.0.0"), ring) as client:
        assert client.get("/v1/me", headers=bearer(text)).status_code == 200
        store.revoke_key(key.id, int(time.time()))
        for headers in (bearer(text), {}):
            assert client.get("/v1/me", headers=headers).status_code == 401


def test_other_sites_may_use_the_api_where_the_settings_name_them() -> None:
    """CORS for those alone, and for ranking, not for management."""
    site = "https://app.example.org"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    with local_client(cors_origins=(site,)) as client:
        preflight = client.options("/v1/rerank", headers={"Origin": site} | asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == site
        ranked = client.post("/v1/rerank", json=PANDA, headers={"Origin": site})
        assert ranked.status_code == 200
        assert ranked.headers["access-control-allow-origin"] == site
        foreign = {"Origin": "https://app.example.org.evil.example"}
        assert client.options("/v1/rerank", headers=foreign | asked).status_code == 400
        refused = client.post("/v1/rerank", json=PANDA, headers=foreign)
        assert code(refused) == (403, "forbidden")
        assert "access-control-allow-origin" not in refused.headers
        assert client.get("/v1/keys", headers={"Origin": site}).status_code == 403
    with local_client(cors_origins=("*",), api_keys=("k",)) as client:
        headers = bearer("k") | {"Origin": "https://anywhere.example"}
        assert client.post("/v1/rerank", json=PANDA, headers=headers).status_code == 200
        assert client.get("/v1/keys", headers=headers).status_code == 403


# What other processes change


def test_a_key_that_a_command_revokes_is_refused_by_a_running_server(tmp_path: Path) -> None:
    """With the very next request, again and again."""
    store = Store(tmp_path)
    service = service_of(api_keys=("k",))
    with local_client(service, KeyStore(("k",), store)) as client:
        for _ in range(10):
            key, text = make_key("k", now=time.time())
            keep_key(store, key, time.time())
            assert client.post("/v1/rerank", json=PANDA, headers=bearer(text)).status_code == 200
            store.revoke_key(key.id, int(time.time()))
            refused = client.post("/v1/rerank", json=PANDA, headers=bearer(text))
            assert code(refused) == (401, "invalid_api_key")


def test_keys_that_cannot_be_looked_up_let_nobody_in(tmp_path: Path) -> None:
    """After a minute of grace; the answer says it may be repeated, and nothing of the file."""
    store = Store(tmp_path)
    key, text = make_key("k", now=time.time())
    keep_key(store, key, time.time())
    now = [0.0]
    ring = KeyStore((), store, monotonic=lambda: now[0])
    ring.load()
    with local_client(ring=ring) as client:
        broken = tmp_path / "broken"
        broken.write_bytes(b"broken" * 1000)
        broken.replace(tmp_path / STATE_FILE)
        assert client.get("/v1/me", headers=bearer(text)).status_code == 200
        assert client.get("/v1/me").status_code == 401
        now[0] += 61
        for headers in (bearer(text), bearer("other"), {}):
            refused = client.get("/v1/me", headers=headers)
            assert code(refused) == (503, "state_unavailable")
            assert refused.headers["retry-after"] == "1"
            assert str(tmp_path) not in refused.text
        assert client.get("/health/live").status_code == 200


# Models


def test_a_key_for_one_model_sees_and_uses_that_one() -> None:
    """Its own by any name; others are as if they weren't there."""
    with local_client(api_keys=("k",)) as client:
        own = bearer(made(client, "k", models=["rerank-mini-en"])["key"])
        other = bearer(made(client, "k", models=["another", "third"])["key"])
        assert rerank(client, **PANDA).status_code == 401
        assert client.post("/v1/rerank", json=PANDA, headers=own).status_code == 200
        assert len(client.get("/v1/models", headers=own).json()["data"]) == 1

        assert client.get("/v1/models", headers=other).json()["data"] == []
        answers = [
            client.post("/v1/rerank", json=PANDA | named, headers=other)
            for named in ({}, {"model": "rerank-mini-en"}, {"model": "nothing"})
        ]
        assert [code(one) for one in answers] == [(404, "model_not_found")] * 3
        messages = [one.json()["error"]["message"] for one in answers]
        assert messages[0] == "name a model; this API key may use: 'another', 'third'"
        assert messages[1].replace("rerank-mini-en", "nothing") == messages[2]


# Limits


def limits_in(response: httpx.Response) -> list[str | None]:
    """Return what an answer tells of limits."""
    names = ("limit", "remaining", "reset")
    return [response.headers.get(f"RateLimit-{name}") for name in names]


def test_requests_a_minute_are_told_and_held() -> None:
    """Every answer tells what is left, also a refused body; then it is 429 with a time to wait."""
    with local_client(api_keys=("k",)) as client:
        key = bearer(made(client, "k", requests_per_minute=2)["key"])
        first = client.post("/v1/rerank", json=PANDA, headers=key)
        second = client.post("/v1/rerank", content=b"{", headers=key)
        third = client.post("/v1/rerank", json=PANDA, headers=key)
        listed = client.get("/v1/models", headers=key)
        free = client.post("/v1/rerank", json=PANDA, headers=bearer("k"))

    assert (first.status_code, limits_in(first)) == (200, ["2", "1", "30"])
    assert (second.status_code, limits_in(second)) == (400, ["2", "0", "60"])
    assert code(third) == (429, "rate_limited")
    assert third.headers["retry-after"] == "30"
    assert third.headers["x-ratelimit-remaining-requests"] == "0"
    assert third.headers["x-ratelimit-reset-requests"] == "60s"
    assert "x-ratelimit-limit-tokens" not in third.headers
    assert listed.status_code == 200, "looking is not limited"
    assert limits_in(free) == [None] * 3


def test_tokens_are_charged_after_the_answer() -> None:
    """The first request passes whatever it takes; the next one waits for the debt."""
    with local_client(api_keys=("k",), key_tokens_per_minute=6) as client:
        first = client.post("/v1/rerank", json=PANDA, headers=bearer("k"))
        second = client.post("/v1/rerank", json=PANDA, headers=bearer("k"))

    used = first.json()["usage"]["total_tokens"]
    assert used > 6
    assert limits_in(first) == ["6", "0", str(used * 10)]
    assert code(second) == (429, "rate_limited")
    assert int(second.headers["retry-after"]) == (used - 6 + 1) * 10


def test_the_scores_that_stream_have_limits_too() -> None:
    """Told before the first line, charged after the last."""
    with local_client(api_keys=("k",), key_tokens_per_minute=6) as client:
        headers = bearer("k") | {"Accept": "application/x-ndjson"}
        first = client.post("/v1/rerank", json=PANDA, headers=headers)
        second = client.post("/v1/rerank", json=PANDA, headers=headers)

    assert (first.status_code, limits_in(first)[0]) == (200, "6")
    assert len(first.text.splitlines()) == 3
    assert second.status_code == 429


def test_requests_at_once_are_held_for_each_key() -> None:
    """A second one of the same key is refused while the first runs, another key's is not."""
    gate = Gate()
    service = service_of(
        FakeEngine(gate=gate), api_keys=("a", "b"), key_concurrent_requests=1, cache_bytes=0
    )
    answers: list[httpx.Response] = []
    with server_of(service) as url, httpx.Client(base_url=url, timeout=PATIENCE) as client:

        def send(key: str) -> None:
            answers.append(client.post("/v1/rerank", json=PANDA, headers=bearer(key)))

        running = threading.Thread(target=send, args=("a",))
        running.start()
        gate.await_step()
        refused = client.post("/v1/rerank", json=PANDA, headers=bearer("a"))
        other = threading.Thread(target=send, args=("b",))
        other.start()
        gate.open()
        running.join()
        other.join()
        again = client.post("/v1/rerank", json=PANDA, headers=bearer("a"))

    assert code(refused) == (429, "rate_limited")
    assert refused.headers["retry-after"] == "1"
    assert [one.status_code for one in (*answers, again)] == [200, 200, 200]
