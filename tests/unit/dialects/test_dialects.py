"""Every dialect on the wire: golden requests and answers, errors, and what holds for all."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from litestar.testing import TestClient

from rerankd import errors
from rerankd.deployments.runtime import TOKENIZER_THREADS
from rerankd.dialects import dashscope, tei, vllm, voyage
from rerankd.dialects.dialect import (
    SHARED_PATHS,
    Body,
    Dialect,
    ParsedRequest,
    RequestContext,
)
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_PICTURE, EXAMPLE_QUERY
from rerankd.dialects.table import DIALECTS
from rerankd.domain import RankedDocument, RankedResult, Timings

from support import goldens
from support.pictures import plain, png_claiming
from support.places import DOCS
from support.serving import client_of, service_of

Client = TestClient[Any]
DOCUMENTS = ["one", "one two three", "one two"]

every_dialect = pytest.mark.parametrize("dialect", tuple(DIALECTS), ids=lambda one: one.name)


IN_ORDER = frozenset({"weaviate", "deepinfra", "vllm-score"})
"""Dialects whose replies keep the order of the request."""


def body_of(dialect: Dialect, documents: list[str]) -> dict[str, Any]:
    """Return the dialect's example about these documents, without a limit on its results."""
    found: dict[str, Any] = _about(dialect.example, documents)
    return found


def _about(value: Any, documents: list[str]) -> Any:
    if value == EXAMPLE_QUERY:
        return "q"
    if value == EXAMPLE_DOCUMENTS:
        return documents
    if value == [{"text": text} for text in EXAMPLE_DOCUMENTS]:
        return [{"text": text} for text in documents]
    if isinstance(value, list):
        return [_about(one, documents) for one in value]
    if isinstance(value, dict):
        unlimited = {name: None for name in ("top_n", "top_k") if name in value}
        return {name: _about(one, documents) for name, one in value.items()} | unlimited
    return value


def path_of(dialect: Dialect) -> str:
    """Return a path of a dialect on which its requests are known."""
    return "/rerank" if "/rerank" in dialect.paths else dialect.paths[0]


SCORE_KEYS = ("relevance_score", "score", "logit")


def pairs(reply: Any) -> list[tuple[int, float]]:
    """Return the indices and scores of a reply, in its order; a row without an index has its own.

    They are the first list in the reply that holds scores.
    """
    found = _scored(reply)
    assert found is not None, reply
    return found


def _scored(value: Any) -> list[tuple[int, float]] | None:
    if isinstance(value, list):
        return [_pair(number, one) for number, one in enumerate(value)]
    if isinstance(value, dict):
        for name in ("results", "data", "rankings", "scores", "output"):
            if name in value:
                return _scored(value[name])
    return None


def _pair(number: int, row: Any) -> tuple[int, float]:
    if not isinstance(row, dict):
        return number, row
    return row.get("index", number), next(row[name] for name in SCORE_KEYS if name in row)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Yield a client of a ready service."""
    with client_of(service_of()) as found:
        yield found


# Golden files


@pytest.fixture(scope="module")
def forgetful() -> Iterator[Client]:
    """Yield a client of a service that keeps no scores."""
    with goldens.client_for({}) as found:
        yield found


@pytest.fixture(scope="module")
def seeing() -> Iterator[Client]:
    """Yield a client of a service that reads pictures, and keeps no scores."""
    with goldens.client_for({"sees": True}) as found:
        yield found


@pytest.mark.parametrize("path", goldens.files(), ids=lambda one: f"{one.parent.name}-{one.stem}")
def test_golden_requests_get_their_golden_answers(
    path: Path, request: pytest.FixtureRequest
) -> None:
    """Each file holds a request, its status, its reply and what its headers tell."""
    golden = goldens.read(path)

    if not {"settings", "time_for"} & golden.keys():
        shared = request.getfixturevalue("seeing" if golden.get("sees") else "forgetful")
        assert golden == goldens.answered(golden, shared)
        return
    with goldens.client_for(golden) as own:
        assert golden == goldens.answered(golden, own)


@every_dialect
def test_every_dialect_has_golden_successes_and_errors(dialect: Dialect) -> None:
    """There are files for each, and each is in the folder of the dialect that answers it."""
    found = [one for one in goldens.files() if one.parent.name == dialect.name]
    statuses = [goldens.read(one)["status"] for one in found]

    assert statuses.count(200) >= 1
    assert len(statuses) > statuses.count(200)
    for one in found:
        golden = goldens.read(one)
        body = goldens.body_of_golden(golden)
        if golden["path"] not in DIALECTS.paths:  # it has a model's name in it
            continue
        assert DIALECTS.detect(golden["path"], body) is dialect, one


# Hostile pictures

HOSTILE = {
    "truncated": (plain()[:60], "bad_picture"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "bad_picture"),
    "page": (b"<!DOCTYPE html><script>1</script>", "bad_picture"),
    "bomb": (png_claiming(30_000, 30_000), "picture_too_large"),
    "short of rows": (png_claiming(64, 64, bytes(10)), "bad_picture"),
}


def with_picture(value: Any, uri: str) -> Any:
    """Return a dialect's example with a picture as its last document."""
    if value == EXAMPLE_DOCUMENTS or value == [{"text": text} for text in EXAMPLE_DOCUMENTS]:
        return [*value[:-1], {"image": uri}]
    if isinstance(value, dict):
        return {name: with_picture(one, uri) for name, one in value.items() if name != "model"}
    return value


@pytest.mark.parametrize("hostile", HOSTILE)
@every_dialect
def test_hostile_pictures_get_each_dialect_s_error(
    dialect: Dialect, hostile: str, seeing: Client
) -> None:
    """With the place as the request has it, and nothing of the file; the next request is fine."""
    file, code = HOSTILE[hostile]
    uri = f"data:image/png;base64,{base64.b64encode(file).decode()}"
    path = path_of(dialect).format(owner="o", model="tiny-vision")

    answer = seeing.post(path, json=with_picture(dialect.example, uri))

    kind = {"bad_picture": errors.BadPicture, "picture_too_large": errors.PictureTooLarge}[code]
    shown = msgspec.to_builtins(dialect.errors.body(kind("", param="")))
    found = answer.json()
    assert answer.status_code == 422, found
    assert found.keys() == shown.keys()
    assert code in answer.text or "code" not in str(shown)
    assert re.search(r"the picture in [\w.]+\[2\] ", answer.text)
    assert uri[30:60] not in answer.text
    fine = seeing.post(path, json=with_picture(dialect.example, EXAMPLE_PICTURE))
    assert fine.status_code == 200, fine.text


# Translation


texts = st.lists(st.text(max_size=8), min_size=1, max_size=6)


def ranked(parsed: ParsedRequest, scores: list[float]) -> list[RankedResult]:
    """Return a ranking of each request with these scores, as they come."""
    rest = iter(scores)
    found = []
    for request in parsed.requests:
        rows = [RankedDocument(index, next(rest)) for index in range(len(request.documents))]
        found.append(
            RankedResult(
                model="m",
                results=tuple(sorted(rows, key=lambda row: (-row.score, row.index))),
                score_scale="model",
                device="cpu",
                prompt_tokens=5,
                truncated=(),
                query_truncated=False,
                query_tokens=1,
                chunks=len(rows),
                cached=0,
                timings=Timings(0.0, 0.0, 0.0, 0.0),
            )
        )
    return found


@pytest.mark.slow
@every_dialect
@given(documents=texts, data=st.data())
def test_texts_and_scores_survive_translation(
    dialect: Dialect, documents: list[str], data: st.DataObject
) -> None:
    """Documents come to the domain as they were sent; its scores come back with their indices."""
    count = len(documents)
    scores = data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    body = Body(msgspec.json.encode(body_of(dialect, documents)))

    parsed = dialect.parse(body, RequestContext(id="x"))
    reply = msgspec.json.decode(msgspec.json.encode(parsed.reply(ranked(parsed, scores))))

    assert [list(request.documents) for request in parsed.requests] == [documents]
    assert [request.query for request in parsed.requests] == ["q"]
    assert dict(pairs(reply)) == dict(enumerate(scores))


@given(queries=st.lists(st.sampled_from(["p", "q", "r"]), min_size=1, max_size=6), data=st.data())
def test_pairs_of_many_queries_get_their_own_scores(
    queries: list[str], data: st.DataObject
) -> None:
    """However pairs are grouped by query, each score comes back at its pair's place."""
    documents = [f"d{number}" for number in range(len(queries))]
    known = {pair: data.draw(st.floats(0, 1)) for pair in zip(queries, documents, strict=True)}
    body = Body(msgspec.json.encode({"text_1": queries, "text_2": documents}))

    parsed = vllm.DIALECT.parse(body, RequestContext())
    flat = [known[one.query, text] for one in parsed.requests for text in one.documents]
    reply = msgspec.to_builtins(parsed.reply(ranked(parsed, flat)))

    assert list(known.values()) == [score for _, score in pairs(reply)]


@every_dialect
def test_packed_bodies_are_read_as_well(dialect: Dialect) -> None:
    """MessagePack means the same as JSON, marks included."""
    body = body_of(dialect, DOCUMENTS)
    packed = Body(msgspec.msgpack.encode(body), packed=True)

    assert DIALECTS.detect(path_of(dialect), packed) is dialect
    requests = dialect.parse(packed, RequestContext()).requests
    assert requests == dialect.parse(Body(msgspec.json.encode(body)), RequestContext()).requests


@every_dialect
def test_one_string_is_one_document(dialect: Dialect) -> None:
    """In each dialect, as vLLM and SiliconFlow have it."""
    body = body_of(dialect, ["a bear"])
    key = next(key for key in ("documents", "texts", "input", "passages", "text_2") if key in body)
    place = body["input"] if dialect.name == "dashscope" else body
    place["documents" if dialect.name == "dashscope" else key] = "a bear"

    parsed = dialect.parse(Body(msgspec.json.encode(body)), RequestContext())

    assert [one.documents for one in parsed.requests] == [("a bear",)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.mark.slow
@every_dialect
@settings(max_examples=40)
@given(data=st.data())
def test_any_json_is_read_or_refused(dialect: Dialect, data: st.DataObject) -> None:
    """Whatever types a body has, it is a request or a RequestError, nothing else."""
    fields = dialect.request.__struct_encode_fields__
    body = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(fields, json_values)))
    likely = body_of(dialect, DOCUMENTS)
    content = msgspec.json.encode(data.draw(st.sampled_from([body, likely | body])))

    assert _read_or_refused(dialect, Body(content))


@every_dialect
@given(content=st.binary(max_size=60), packed=st.booleans())
def test_any_bytes_are_read_or_refused(dialect: Dialect, content: bytes, *, packed: bool) -> None:
    """No body, however broken, raises anything but a RequestError."""
    assert _read_or_refused(dialect, Body(content, packed=packed))


def _read_or_refused(dialect: Dialect, body: Body) -> bool:
    """Let anything but requests and refusals out."""
    try:
        DIALECTS.detect(path_of(dialect), body)
        return bool(dialect.parse(body, RequestContext()).requests)
    except errors.RequestError as error:
        return bool(error.message)


# Over HTTP


@every_dialect
def test_every_dialect_ranks(client: Client, dialect: Dialect) -> None:
    """On each path the best document comes first, but where pairs keep their order."""
    for path in dialect.paths:
        if DIALECTS.only_one(path) is None and path != path_of(dialect):
            continue
        response = client.post(path, json=body_of(dialect, DOCUMENTS))

        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        found = pairs(response.json())
        in_order = dialect.name in IN_ORDER
        assert [index for index, _ in found] == ([0, 1, 2] if in_order else [1, 2, 0])
        assert max(found, key=lambda pair: pair[1])[0] == 1


@every_dialect
def test_numbers_have_the_types_that_clients_declare(client: Client, dialect: Dialect) -> None:
    """Scores are floats, counts are integers, and no document is null."""
    reply = client.post(path_of(dialect), json=body_of(dialect, ["a b c d e f"]))

    assert all(type(score) is float for _, score in pairs(reply.json()))
    assert '"document":null' not in reply.text
    usage = reply.json().get("usage", {}) if dialect.name != "tei" else {}
    assert all(type(count) is int for count in usage.values())
    assert usage.keys() in (
        {"prompt_tokens", "completion_tokens", "total_tokens"},
        {"total_tokens"},
        {"input_tokens"},
        set(),
    )


def below(kind: type[errors.RerankdError]) -> Iterator[type[errors.RerankdError]]:
    """Yield a class of errors and all under it."""
    yield kind
    for sub in kind.__subclasses__():
        yield from below(sub)


@every_dialect
@pytest.mark.parametrize("kind", list(below(errors.RerankdError)), ids=lambda one: one.code)
def test_every_error_can_be_told(dialect: Dialect, kind: type[errors.RerankdError]) -> None:
    """Each has its sentence where the dialect's clients look, and nothing that means success."""
    body = msgspec.to_builtins(dialect.errors.body(kind("what went wrong", param="query")))

    assert not {"results", "data"} & body.keys()
    assert body.get("message", body.get("error")) == "what went wrong"
    assert body.get("detail", "what went wrong") == "what went wrong"
    if isinstance(body.get("error"), dict):
        assert body["error"]["code"] == kind.code


@pytest.mark.parametrize("dialect", [voyage.DIALECT, dashscope.DIALECT], ids=lambda one: one.name)
def test_some_clients_fail_on_an_error_that_is_an_object(dialect: Dialect) -> None:
    """So their dialects have none."""
    body = msgspec.to_builtins(dialect.errors.body(errors.RerankdError("x")))

    assert body["message"] == "x"
    assert "error" not in body


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.MissingDocuments("x"), "Empty"),
        (errors.QueueFull("x"), "Overloaded"),
        (errors.RateLimited("x"), "Overloaded"),
        (errors.PairTooLong("x"), "Validation"),
        (errors.ModelLoading("x"), "Unhealthy"),
        (errors.EngineFailure("x"), "Backend"),
        (errors.RerankdError("x"), "Backend"),
    ],
)
def test_tei_errors_have_its_types(error: errors.RerankdError, kind: str) -> None:
    """TEI's clients know six words."""
    assert msgspec.to_builtins(tei.DIALECT.errors.body(error))["error_type"] == kind


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/rerank", {"message", "detail", "error"}),
        ("/rerank", {"message", "detail", "error"}),
        ("/v2/rerank", {"message", "detail", "error"}),
        ("/api/rerank", {"error"}),
        ("/api/v1/services/rerank/text-rerank/text-rerank", {"code", "message"}),
    ],
)
def test_errors_before_the_body_is_read_are_told_by_path(path: str, shape: set[str]) -> None:
    """A missing key is told in the path's own dialect, or so that most clients can read it."""
    with client_of(service_of(api_keys=("k",))) as client:
        response = client.post(path, json={})

    assert response.status_code == 401
    assert set(response.json()) == shape


@pytest.mark.slow
@every_dialect
def test_busy_servers_say_when_to_try_again(dialect: Dialect) -> None:
    """Statuses that clients retry have Retry-After in whole seconds."""
    service = service_of()
    with client_of(service) as client:
        service.drain()
        response = client.post(path_of(dialect), json=body_of(dialect, ["a"]))

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1


def test_scores_can_be_streamed_in_every_dialect_of_one_query(client: Client) -> None:
    """The last line is the dialect's own reply."""
    for dialect in DIALECTS:
        response = client.post(
            path_of(dialect),
            json=body_of(dialect, DOCUMENTS),
            headers={"Accept": "application/x-ndjson"},
        )
        lines = [json.loads(line) for line in response.text.splitlines()]

        assert sorted(line["index"] for line in lines[:-1]) == [0, 1, 2], dialect.name
        assert len(pairs(lines[-1])) == 3


def test_errors_of_many_queries_are_told_once() -> None:
    """One failing pair fails the request with its own error."""
    body = {"text_1": ["p", "q", "r"], "text_2": ["a", "poison", "b"]}
    with client_of(service_of()) as client:
        response = client.post("/score", json=body)

    assert (response.status_code, response.json()["error"]["code"]) == (500, "engine_failure")


def test_many_queries_are_one_request_of_a_limited_key() -> None:
    """A key that may run one request at a time may ask for many pairs."""
    body = {"text_1": ["p", "q", "r"], "text_2": ["a", "b", "c"]}
    settings = {"api_keys": ("k",), "key_concurrent_requests": 1}
    with client_of(service_of(**settings)) as client:
        response = client.post("/score", json=body, headers={"Authorization": "Bearer k"})

    assert response.status_code == 200


def test_a_body_nested_deeply_is_refused(client: Client) -> None:
    """Nothing recurses as deep as a client likes."""
    body = b'{"query":"q","documents":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    assert client.post("/v1/rerank", content=body).status_code in {400, 413}


def test_errors_are_logged_by_code_in_every_dialect(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """What is told to the client in its words is one code in the log."""
    caplog.set_level("INFO", logger="rerankd")
    client.post("/rerank", json={"query": "q", "texts": []})

    assert [getattr(one, "error", "") for one in caplog.records if "POST" in one.message] == [
        "missing_documents"
    ]


# What else clients ask for


def test_xinference_clients_find_a_reranker(client: Client) -> None:
    """They ask whether keys are needed, then what the model is."""
    assert client.get("/v1/cluster/auth").json() == {"auth": False}
    assert client.get("/v1/models/rerank-mini-en").json()["model_type"] == "rerank"


def test_cluster_auth_is_told_without_a_key() -> None:
    """Xinference's clients ask before they send their key."""
    with client_of(service_of(api_keys=("k",))) as client:
        assert client.get("/v1/cluster/auth").json() == {"auth": True}
        assert client.get("/v1/models/rerank-mini-en").status_code == 401


@pytest.mark.parametrize("name", ["x", "BAAI/bge-reranker-v2-m3", "rerank-mini-en/x"])
def test_unknown_models_are_404(client: Client, name: str) -> None:
    """Also names with slashes."""
    response = client.get(f"/v1/models/{name}")

    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


def test_a_model_is_told_under_every_name_it_answers_to() -> None:
    """With any_model Xinference's clients may ask for any, and are told which it is."""
    with client_of(service_of(any_model=True)) as client:
        assert client.get("/v1/models/BAAI/bge-reranker-v2-m3").json()["id"] == "rerank-mini-en"


def test_tei_clients_find_a_reranker_and_its_limits(client: Client) -> None:
    """They choose methods by model_type and split lists by max_client_batch_size."""
    info = client.get("/info").json()

    assert list(info["model_type"]) == ["reranker"]
    assert (info["model_id"], info["max_input_length"]) == ("rerank-mini-en", 64)
    assert info["max_client_batch_size"] == 10_000
    assert info["tokenization_workers"] == TOKENIZER_THREADS


def test_llama_cpp_clients_find_the_context(client: Client) -> None:
    """/props has it where llama.cpp has it."""
    assert client.get("/props").json()["default_generation_settings"] == {"n_ctx": 64}


def test_weaviate_is_told_when_requests_are_served(client: Client) -> None:
    """Its module waits for 204 and reads /meta once."""
    response = client.get("/.well-known/ready")

    assert (response.status_code, response.content) == (204, b"")
    assert client.get("/meta").json()["id"] == "rerank-mini-en"


@pytest.mark.parametrize("path", ["/info", "/props", "/meta", "/.well-known/ready"])
def test_facts_of_a_model_that_is_not_there_are_503(path: str) -> None:
    """Before a model is loaded nothing can be told of it."""
    with client_of(service_of(start=False)) as client:
        response = client.get(path)

    assert (response.status_code, response.json()["error"]["code"]) == (503, "model_loading")
    assert int(response.headers["retry-after"]) >= 1


def test_the_api_page_lists_the_table() -> None:
    """docs/api.md has a row for every dialect, with all its paths."""
    page = (DOCS / "api.md").read_text("utf-8")
    rows = {
        row.split(" | ")[0].removeprefix("| "): row
        for row in page.splitlines()
        if row.startswith("| ")
    }

    for dialect in DIALECTS:
        row = rows[dialect.name]
        own = [path for path in dialect.paths if path not in SHARED_PATHS or "shared" not in row]
        assert all(f"`{path}`" in row for path in own), row
        assert dialect.title in row
