"""The HTTP surface over a fake engine: shapes, errors, keys, limits."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from litestar.testing import TestClient

from rerankd import errors
from rerankd.domain import Timings
from rerankd.http.application import litestar_app
from rerankd.http.guard import PUBLIC, require_safe_binding
from rerankd.http.hosts import is_loopback
from rerankd.http.routes import server_timing
from rerankd.http.statuses import STATUSES
from rerankd.settings import Settings
from rerankd.telemetry.observers import Telemetry

from support.fakes import PATIENCE, Gate
from support.serving import FakeEngine, client_of, rerank, server_of, service_of

Client = TestClient[Any]
DOCUMENTS = ["one", "one two", "one two three"]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Yield a client of a ready service with the default settings."""
    with client_of(service_of()) as found:
        yield found


def indices(response: httpx.Response) -> list[int]:
    """Return the ranking of an answer."""
    return [result["index"] for result in response.json()["results"]]


def error(response: httpx.Response) -> dict[str, Any]:
    """Return the error of an answer, its shape checked."""
    body = response.json()
    assert list(body) == ["message", "detail", "error"]
    assert body["message"] == body["detail"] == body["error"]["message"]
    assert list(body["error"]) == ["message", "type", "code", "param"]
    found: dict[str, Any] = body["error"]
    return found


# Answers


def test_answer_has_the_documented_shape(client: Client) -> None:
    """An answer has exactly the keys that GPUStack documents, and status 200."""
    response = rerank(client, query="q", documents=DOCUMENTS, top_n=3)

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["id", "model", "object", "results", "usage", "meta"]
    assert (body["model"], body["object"]) == ("rerank-mini-en", "list")
    assert list(body["results"][0]) == ["index", "document", "relevance_score"]
    assert body["results"][0]["document"] == {"text": "one two three", "multi_modal": None}
    assert list(body["usage"]) == ["prompt_tokens", "completion_tokens", "total_tokens"]


def test_results_come_best_first_with_scores_in_0_to_1(client: Client) -> None:
    """Longer documents score higher with this engine, so the order is reversed."""
    response = rerank(client, query="q", documents=DOCUMENTS)

    scores = [result["relevance_score"] for result in response.json()["results"]]
    assert indices(response) == [2, 1, 0]
    assert scores == sorted(scores, reverse=True)
    assert all(0.0 <= score <= 1.0 for score in scores)


def test_ties_go_by_input_index(client: Client) -> None:
    """Documents with the same score keep the order they came in."""
    documents = ["a b", "c d", "e", "f g"]

    assert indices(rerank(client, query="q", documents=documents)) == [0, 1, 3, 2]


@pytest.mark.parametrize(
    ("top_n", "count"), [(None, 3), (0, 3), (1, 1), (2, 2), (2.0, 2), ("2", 2), (3, 3), (99, 3)]
)
def test_top_n_limits_and_clamps(client: Client, top_n: float | str | None, count: int) -> None:
    """Null and 0 mean all; more than there are means all."""
    assert count == len(indices(rerank(client, query="q", documents=DOCUMENTS, top_n=top_n)))


def test_missing_top_n_gives_all(client: Client) -> None:
    """Without top_n every document comes back."""
    assert indices(rerank(client, query="q", documents=DOCUMENTS)) == [2, 1, 0]


def test_documents_can_be_left_out(client: Client) -> None:
    """With return_documents off no result has a document key, not even a null one."""
    response = rerank(client, query="q", documents=DOCUMENTS, return_documents=False)

    assert [list(row) for row in response.json()["results"]] == [["index", "relevance_score"]] * 3


def test_documents_may_be_objects(client: Client) -> None:
    """Strings and objects with a text mean the same, other keys are ignored."""
    documents = [{"text": "one two", "id": "x"}, "one"]

    response = rerank(client, query="q", documents=documents)

    assert indices(response) == [0, 1]
    assert response.json()["results"][0]["document"]["text"] == "one two"


def test_raw_scores_are_logits(client: Client) -> None:
    """raw_scores gives the engine's own numbers: here the pair's length less 8."""
    response = rerank(client, query="q", documents=["a b"], raw_scores=True)

    assert response.json()["results"][0]["relevance_score"] == -2.0  # [CLS] q [SEP] a b [SEP]
    assert response.json()["meta"]["score_scale"] == "logit"


@pytest.mark.parametrize("model", [None, "", "rerank-mini-en"])
def test_missing_model_means_the_default(client: Client, model: str | None) -> None:
    """No model, an empty one and the served one are the same."""
    assert rerank(client, query="q", documents=["a"], model=model).status_code == 200


def test_identical_documents_are_scored_once() -> None:
    """A document that comes three times runs once and answers three times."""
    engine = FakeEngine()
    with client_of(service_of(engine)) as client:
        response = rerank(client, query="q", documents=["a b", "c", "a b", "a b"])

    assert indices(response) == [0, 2, 3, 1]
    assert engine.rows_run == 2
    assert response.json()["usage"]["prompt_tokens"] == 3 * 6 + 5


def test_empty_document_is_scored_like_any_text(client: Client) -> None:
    """An empty string is a document of no tokens, not an error."""
    response = rerank(client, query="q", documents=["", "a b c"])

    assert indices(response) == [1, 0]


def test_unknown_keys_and_nulls_are_ignored(client: Client) -> None:
    """Clients of other servers send more keys than we know, and nulls."""
    extra = {"max_chunks_per_doc": None, "user": "x", "kwargs": "{}", "return_documents": None}

    response = rerank(client, query="q", documents=["a"], raw_scores=None, **extra)

    assert response.json()["results"][0]["document"]["text"] == "a"


def test_instruction_is_refused_in_words_not_silently(client: Client) -> None:
    """A model without an instruction slot says so in meta.warnings."""
    response = rerank(client, query="q", documents=["a"], instruction="find pandas")

    assert any("takes no instruction" in text for text in response.json()["meta"]["warnings"])


def test_alias_path_answers_the_same(client: Client) -> None:
    """/rerank is /v1/rerank."""
    body = {"query": "q", "documents": DOCUMENTS}

    assert indices(client.post("/rerank", json=body)) == indices(
        client.post("/v1/rerank", json=body)
    )


def test_long_documents_are_cut_and_named(client: Client) -> None:
    """A pair over the 64 tokens of this model is cut, and meta.truncated names it."""
    long = " ".join(f"w{number}" for number in range(100))

    response = rerank(client, query="q", documents=["a", long, "b"])

    assert response.json()["meta"]["truncated"] == [1]
    assert response.json()["usage"]["prompt_tokens"] == 5 + 64 + 5


def test_request_id_goes_in_and_out(client: Client) -> None:
    """A caller's X-Request-Id comes back and is part of the answer's id; a bad one is replaced."""
    body = {"query": "q", "documents": ["a"]}
    kept = client.post("/v1/rerank", json=body, headers={"X-Request-Id": "abc-1"})
    made = client.post("/v1/rerank", json=body, headers={"X-Request-Id": "a b\tc"})

    assert kept.headers["x-request-id"] == "abc-1"
    assert kept.json()["id"] == "rerank-abc-1"
    assert made.headers["x-request-id"] not in {"", "a b\tc"}


def test_timings_are_told(client: Client) -> None:
    """Server-Timing and meta.timings say where the time went."""
    response = rerank(client, query="q", documents=["a"])

    assert "engine;dur=" in response.headers["server-timing"]
    assert set(response.json()["meta"]["timings"]) == {
        "tokenize_ms",
        "queue_ms",
        "engine_ms",
        "total_ms",
    }


def test_the_header_has_the_times_of_pictures_where_there_are_any() -> None:
    pictured = Timings(1.0, 2.0, 3.0, 9.0, read_pictures_ms=3.0, encode_pictures_ms=2.5)

    assert server_timing([pictured, Timings(1.0, 0.0, 0.0, 1.0)]) == (
        "read_pictures;dur=3.0, encode_pictures;dur=2.5,"
        " tokenize;dur=2.0, queue;dur=2.0, engine;dur=3.0, total;dur=10.0"
    )


# Errors


BAD_BODIES: list[tuple[bytes, str, str | None]] = [
    (b"", "malformed_json", None),
    (b"{", "malformed_json", None),
    (b'{"query":"\xff","documents":["a"]}', "malformed_json", None),
    ('{"query":"q"}'.encode("utf-16"), "malformed_json", None),
    (b"[]", "invalid_request", None),
    (b'{"documents":["a"]}', "invalid_request", "query"),
    (b'{"query":1,"documents":["a"]}', "invalid_request", "query"),
    (b'{"query":null,"documents":["a"]}', "invalid_request", "query"),
    (b'{"query":"q"}', "missing_documents", "documents"),
    (b'{"query":"q","documents":null}', "missing_documents", "documents"),
    (b'{"query":"q","documents":[]}', "missing_documents", "documents"),
    (b'{"query":"q","documents":7}', "invalid_request", "documents"),
    (b'{"query":"q","documents":["a",3]}', "invalid_request", "documents[1]"),
    (b'{"query":"q","documents":["a",null]}', "invalid_request", "documents[1]"),
    (b'{"query":"q","documents":["a",{}]}', "invalid_request", "documents[1]"),
    (b'{"query":"q","documents":[{"text":1}]}', "invalid_request", "documents[0].text"),
    (b'{"query":"q","documents":["a"],"top_n":-1}', "invalid_request", "top_n"),
    (b'{"query":"q","documents":["a"],"top_n":1.5}', "invalid_request", "top_n"),
    (b'{"query":"q","documents":["a"],"top_n":"x"}', "invalid_request", "top_n"),
    (b'{"query":"q","documents":["a"],"top_n":true}', "invalid_request", "top_n"),
    (b'{"query":"q","documents":["a"],"truncate":"x"}', "invalid_request", "truncate"),
]


@pytest.mark.parametrize(("body", "code", "param"), BAD_BODIES)
def test_bad_bodies_name_their_fault(
    client: Client, body: bytes, code: str, param: str | None
) -> None:
    """Every malformed body gets 400, a stable code and the path of the field."""
    response = client.post("/v1/rerank", content=body)

    assert response.status_code == 400
    found = error(response)
    assert (found["code"], found["param"]) == (code, param)
    assert found["type"] == "invalid_request_error"


def test_service_answers_after_every_bad_body(client: Client) -> None:
    """Bad requests disturb nothing else."""
    for body, _, _ in BAD_BODIES:
        client.post("/v1/rerank", content=body)

    assert rerank(client, query="q", documents=["a"]).status_code == 200


def test_unknown_model_is_404(client: Client) -> None:
    """A model this server has not is named in the error."""
    response = rerank(client, query="q", documents=["a"], model="other")

    assert response.status_code == 404
    assert (error(response)["code"], error(response)["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/rerank", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
    ],
)
def test_unknown_paths_and_methods_have_our_shape(
    client: Client, method: str, path: str, status: int, code: str
) -> None:
    """The framework's own refusals look like all others and carry a request id."""
    response = client.request(method, path)

    assert (response.status_code, error(response)["code"]) == (status, code)
    assert response.headers["x-request-id"]


def test_large_bodies_are_413() -> None:
    """A body over max_body_bytes is refused."""
    with client_of(service_of(max_body_bytes=1000)) as client:
        response = rerank(client, query="q", documents=["a" * 2000])

    assert (response.status_code, error(response)["code"]) == (413, "body_too_large")


def test_too_many_documents_are_422() -> None:
    """The limit on documents is named."""
    with client_of(service_of(max_documents=2)) as client:
        response = rerank(client, query="q", documents=DOCUMENTS)

    assert (response.status_code, error(response)["code"]) == (422, "too_many_documents")
    assert "max_documents" in error(response)["message"]


def test_too_many_tokens_are_422() -> None:
    """The limit on tokens is named."""
    with client_of(service_of(max_request_tokens=8)) as client:
        response = rerank(client, query="q", documents=DOCUMENTS)

    assert (response.status_code, error(response)["code"]) == (422, "too_many_tokens")
    assert "max_request_tokens" in error(response)["message"]


def test_long_documents_are_422_without_truncation(client: Client) -> None:
    """truncate off names the first document that doesn't fit."""
    long = " ".join(["w"] * 100)

    response = rerank(client, query="q", documents=["a", long], truncate=False)

    assert (response.status_code, error(response)["code"]) == (422, "pair_too_long")
    assert error(response)["param"] == "documents[1]"


def test_a_refused_document_is_named_by_its_place_in_the_request(client: Client) -> None:
    """Also behind a document that it has twice, and one whose score is known."""
    long = "word " * 100
    rerank(client, query="q", documents=["known"])

    response = rerank(client, query="q", documents=["a", "a", "known", long], overflow="error")

    assert (response.status_code, error(response)["param"]) == (422, "documents[3]")
    assert error(response)["message"].startswith("document 3 makes a pair longer")


def test_loading_model_is_503() -> None:
    """Until the model is loaded, requests and readiness get 503 with Retry-After."""
    loading = threading.Event()
    service = service_of(FakeEngine(loading=loading), start=False)
    with (
        server_of(service, wait=False) as url,
        httpx.Client(base_url=url, timeout=PATIENCE) as client,
    ):
        asked = rerank(client, query="q", documents=["a"])
        for response in (asked, *(client.get(f"/health{path}") for path in ("", "/ready"))):
            assert (response.status_code, error(response)["code"]) == (503, "model_loading")
            assert int(response.headers["retry-after"]) >= 1
        assert client.get("/health/live").status_code == 200
        loading.set()


def test_requests_can_wait_for_a_loading_model() -> None:
    """With load_wait a request that comes too early is answered when the model is there."""
    loading = threading.Event()
    service = service_of(FakeEngine(loading=loading), start=False, load_wait=PATIENCE)
    with (
        server_of(service, wait=False) as url,
        httpx.Client(base_url=url, timeout=PATIENCE) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        early = pool.submit(rerank, client, query="q", documents=["a"])
        loading.set()

        assert early.result(PATIENCE).status_code == 200


def test_draining_server_is_503() -> None:
    """After a stop signal new requests get 503 and the connection is closed."""
    service = service_of()
    with client_of(service) as client:
        service.drain()
        response = rerank(client, query="q", documents=["a"])

    assert (response.status_code, error(response)["code"]) == (503, "shutting_down")
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("word", ["poison", "nan"])
def test_engine_failure_is_500_for_that_request_only(word: str) -> None:
    """A decode that fails, or a score that is no number, is an error and never a score."""
    with client_of(service_of()) as client:
        failed = rerank(client, query="q", documents=["a", word])
        after = rerank(client, query="q", documents=["a"])

    assert (failed.status_code, error(failed)["code"]) == (500, "engine_failure")
    assert after.status_code == 200


def test_requests_beside_a_failing_one_are_answered() -> None:
    """Two requests in one decode: the guilty one fails, the other gets its scores."""
    gate = Gate()
    engine = FakeEngine(gate=gate)
    with (
        server_of(service_of(engine)) as url,
        ThreadPoolExecutor(3) as pool,
        httpx.Client(base_url=url, timeout=PATIENCE) as client,
    ):
        first = pool.submit(rerank, client, query="q", documents=["a"])
        gate.await_step()  # the engine is busy, so the next two wait together
        others = [
            pool.submit(rerank, client, query="q", documents=[word, "b c"])
            for word in ("poison", "d")
        ]
        _await_waiting(client, 3)
        gate.open()
        statuses = [future.result(PATIENCE).status_code for future in (first, *others)]

    assert statuses == [200, 500, 200]
    assert max(len(step) for step in engine.backends[0].steps) == 2


def _await_waiting(client: httpx.Client, count: int) -> None:
    """Wait until so many requests are inside the scheduler, as /v1/models tells."""
    for _ in range(10_000):
        if client.get("/v1/models").json()["data"][0]["load"]["requests"] == count:
            return
    raise AssertionError("the requests never arrived")


def test_unexpected_errors_tell_nothing_of_their_insides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bug gives 500 with a code, no traceback, no message from within."""
    service = service_of()

    async def broken(*_given: object, **_options: object) -> None:
        raise ValueError("secret detail")

    monkeypatch.setattr(service, "rank_many", broken)
    with client_of(service) as client:
        response = rerank(client, query="q", documents=["a"])

    assert (response.status_code, error(response)["code"]) == (500, "internal_error")
    assert "secret" not in response.text


def test_full_queue_is_429_with_retry_after() -> None:
    """When the token limit is reached, the next request is refused whole and at once."""
    gate = Gate()
    engine = FakeEngine(gate=gate)
    with (
        server_of(service_of(engine, max_queue_tokens=20)) as url,
        ThreadPoolExecutor(1) as pool,
        httpx.Client(base_url=url, timeout=PATIENCE) as client,
    ):
        running = pool.submit(rerank, client, query="q", documents=["a b", "c d", "e f"])
        gate.await_step()
        refused = rerank(client, query="q", documents=["g"])
        gate.open()
        finished = running.result(PATIENCE)
        after = rerank(client, query="q", documents=["g"])

    assert (refused.status_code, error(refused)["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    assert (finished.status_code, after.status_code) == (200, 200)


def test_too_many_requests_are_429() -> None:
    """max_requests bounds what waits, whatever its size."""
    gate = Gate()
    with (
        server_of(service_of(FakeEngine(gate=gate), max_requests=1)) as url,
        ThreadPoolExecutor(1) as pool,
        httpx.Client(base_url=url, timeout=PATIENCE) as client,
    ):
        running = pool.submit(rerank, client, query="q", documents=["a"])
        gate.await_step()
        refused = rerank(client, query="q", documents=["b"])
        gate.open()

        assert (refused.status_code, error(refused)["code"]) == (429, "queue_full")
        assert running.result(PATIENCE).status_code == 200


def test_rows_of_a_client_that_left_are_dropped() -> None:
    """When the client closes its connection, documents that have not run never do."""
    gate = Gate()
    engine = FakeEngine(gate=gate)
    documents = [f"{number} x y z" for number in range(200)]
    with server_of(service_of(engine)) as url:
        connection = _send(url, {"query": "q", "documents": documents})
        gate.await_step()
        connection.close()
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            _await_waiting(client, 0)
            gate.open()
            assert rerank(client, query="q", documents=["a"]).status_code == 200

    assert engine.rows_run <= 8 + 1


def _send(url: str, body: dict[str, Any]) -> socket.socket:
    content = json.dumps(body).encode()
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=PATIENCE)
    head = f"POST /v1/rerank HTTP/1.1\r\nHost: [::]\r\nContent-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)
    return connection


def test_body_that_never_ends_is_408() -> None:
    """A client that announces more than it sends is answered after read_timeout."""
    with server_of(service_of(read_timeout=0.05)) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), PATIENCE) as connection:
            connection.sendall(b"POST /rerank HTTP/1.1\r\nHost: [::]\r\nContent-Length: 9\r\n\r\n{")
            answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 408 ")


# Keys


def test_every_route_but_the_public_ones_needs_a_key() -> None:
    """Walk all routes: each refuses a call without a key unless it is on this list."""
    public = {"/", "/docs", "/openapi.json", "/health", "/health/live", "/health/ready"}
    public |= {"/v1/cluster/auth", "/.well-known/ready"}
    service = service_of(api_keys=("k1",), start=False)
    app = litestar_app(service, Telemetry())
    asyncio.run(service.close())

    open_paths = {
        route.path
        for route in app.routes
        for handler in getattr(route, "route_handlers", None) or [route.route_handler]
        if handler.opt.get(PUBLIC)
    }

    assert public | {"/static", "/static/{file_path:path}"} >= open_paths
    assert public <= open_paths


KEYED = [("POST", "/v1/rerank"), ("POST", "/rerank"), ("GET", "/v1/models")]
HEADERS: list[tuple[dict[str, str], bool]] = [
    ({}, False),
    ({"Authorization": "Bearer wrong"}, False),
    ({"Authorization": "Bearer "}, False),
    ({"Authorization": "Basic k1"}, False),
    ({"Authorization": "k1"}, False),
    ({"X-API-Key": "wrong"}, False),
    ({"X-API-Key": "k"}, False),
    ({"Authorization": "Bearer k1"}, True),
    ({"Authorization": "bearer k2-ü".encode().decode("latin-1")}, False),
    ({"Authorization": "BEARER k2"}, True),
    ({"X-API-Key": "k2"}, True),
]


@pytest.fixture(scope="module")
def keyed() -> Iterator[Client]:
    """Yield a client of a service that knows two keys."""
    with client_of(service_of(api_keys=("k1", "k2"))) as found:
        yield found


@pytest.mark.parametrize(("method", "path"), KEYED)
@pytest.mark.parametrize(("headers", "accepted"), HEADERS)
def test_keys_are_checked_on_every_inference_path(
    keyed: Client, method: str, path: str, headers: dict[str, str], accepted: bool
) -> None:
    """Only a known key passes, as a bearer token in any case or as X-API-Key."""
    body = {"query": "q", "documents": ["a"]} if method == "POST" else None
    raw = {name: value.encode("latin-1") for name, value in headers.items()}

    response = keyed.request(method, path, json=body, headers=raw)  # type: ignore[arg-type]

    assert response.status_code == (200 if accepted else 401)
    if not accepted:
        assert error(response)["code"] == "invalid_api_key"
        assert error(response)["type"] == "authentication_error"
        assert response.headers["www-authenticate"] == "Bearer"


def test_key_is_checked_before_the_body(keyed: Client) -> None:
    """Without a key a bad body tells nothing but that a key is needed."""
    assert keyed.post("/v1/rerank", content=b"{").status_code == 401


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/openapi.json", "/docs"])
def test_public_routes_need_no_key(keyed: Client, path: str) -> None:
    """Health and documentation are for everybody."""
    assert keyed.get(path).status_code == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_binding_outside_needs_a_key(host: str, loopback: bool) -> None:
    """Any address but a loopback one needs a key or no_auth."""
    assert is_loopback(host) is loopback
    if not loopback:
        with pytest.raises(errors.SettingsError, match="RERANKD_API_KEYS"):
            require_safe_binding(Settings(host=host))
    require_safe_binding(Settings(host=host, no_auth=True))
    require_safe_binding(Settings(host=host, api_keys=("k",)))


# The rest


def test_every_error_has_a_status() -> None:
    """The table of statuses names every error class there is."""

    def below(kind: type[errors.RerankdError]) -> set[type[errors.RerankdError]]:
        ours = [sub for sub in kind.__subclasses__() if sub.__module__.startswith("rerankd.")]
        return {kind}.union(*map(below, ours))

    assert below(errors.RerankdError) == set(STATUSES)


def test_models_are_listed_in_openai_shape(client: Client) -> None:
    """The list has OpenAI's keys and our facts."""
    body = client.get("/v1/models").json()

    assert body["object"] == "list"
    (model,) = body["data"]
    assert (model["id"], model["object"], model["state"]) == ("rerank-mini-en", "model", "ready")
    assert model["created"] > 1_600_000_000
    assert model["facts"]["context"] == 64
    assert (model["load"]["requests"], model["load"]["tokens"]) == (0, 0)
    assert (model["input_modalities"], model["score_scale"], model["marks"]) == (
        ["text"],
        "model",
        [],
    )


def test_home_is_the_console(client: Client) -> None:
    """A person who opens the address gets somewhere."""
    home = client.get("/", follow_redirects=False)

    assert home.headers["content-type"].startswith("text/html")
    assert "static/console/main.js" in home.text


def test_nothing_a_user_sent_is_logged(
    client: Client, keyed: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Queries, documents, keys and query strings stay out of the log, also for failures."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="rerankd")  # a command may have set it higher
    for text in ("classified", "classified poison"):
        rerank(client, query="classified", documents=[text])
    client.post("/v1/rerank", content=b'{"query":"classified","documents":[1]}')
    client.get("/nothing?classified=1")
    keyed.get("/v1/models", headers={"X-API-Key": "classified"})

    logged = [record for record in caplog.records if record.name.startswith(("rerankd", "uvicorn"))]
    text = "\n".join(caplog.handler.format(record) for record in logged)
    assert "POST /v1/rerank 200" in text
    assert "POST /v1/rerank 500" in text
    assert "classified" not in text


def test_many_clients_at_once_get_their_own_answers() -> None:
    """Forty concurrent requests are answered with their own documents' scores."""
    with server_of(service_of(FakeEngine(workers=2))) as url, ThreadPoolExecutor(10) as pool:
        barrier = threading.Barrier(10)

        def ask(number: int) -> list[float]:
            if number < 10:
                barrier.wait(PATIENCE)
            with httpx.Client(base_url=url, timeout=PATIENCE) as client:
                text = " ".join(f"w{word}" for word in range(number % 7 + 1))
                found = rerank(client, query="q", documents=[text, "x"], raw_scores=True).json()
            return [row["relevance_score"] for row in found["results"] if row["index"] == 0]

        assert [[number % 7 - 3.0] for number in range(40)] == list(pool.map(ask, range(40)))
