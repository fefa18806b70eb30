"""Vectors over HTTP: both dialects, their refusals, and the limits that ranking keeps as well."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from litestar.testing import TestClient

from rerankd.auth.keys import KeyStore, make_key
from rerankd.domain import Outcome, StepFacts
from rerankd.http.application import create_app
from rerankd.service import Service
from rerankd.store import Spec

from support.fakes import PATIENCE, VECTOR_WIDTH, Gate
from support.serving import FakeEngine, client_of, rerank, server_of, service_of, telemetry_of

pytestmark = pytest.mark.slow

EMBEDS: dict[str, Any] = {"catalog_dir": "", "model": "rerank-mini-en"}
"""Settings of the embedded model, in whose layout the fake engine answers."""
TEXTS = ["a panda", "a bear", "a panda"]

Client = TestClient[Any]


@pytest.fixture
def client() -> Iterator[Client]:
    with client_of(service_of(**EMBEDS)) as found:
        yield found


def vectors_in(response: httpx.Response) -> list[list[float]]:
    assert response.status_code == 200, response.text
    return [row["embedding"] for row in response.json()["data"]]


def from_base64(text: str) -> list[float]:
    found: list[float] = np.frombuffer(base64.b64decode(text), "<f4").tolist()
    return found


# OpenAI's dialect


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
def test_the_answer_is_openais(client: Client, path: str) -> None:
    """Keys, order and counts are those that OpenAI documents; equal texts have equal vectors."""
    response = client.post(path, json={"model": "rerank-mini-en", "input": TEXTS, "user": "u"})

    body = response.json()
    assert list(body) == ["object", "data", "model", "usage"]
    assert (body["object"], body["model"]) == ("list", "rerank-mini-en")
    assert [list(row) for row in body["data"]] == [["object", "index", "embedding"]] * 3
    assert [row["index"] for row in body["data"]] == [0, 1, 2]
    first, second, third = vectors_in(response)
    assert first == third != second
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-6)
    # [CLS], two words and [SEP], of each text
    assert body["usage"] == {"prompt_tokens": 12, "total_tokens": 12}
    assert response.headers["Server-Timing"].startswith("tokenize;dur=")


def test_a_string_is_one_text(client: Client) -> None:
    """It has the vector that it has in a list."""
    (alone,) = vectors_in(client.post("/v1/embeddings", json={"input": "a panda"}))
    listed = vectors_in(client.post("/v1/embeddings", json={"input": TEXTS}))

    assert alone == listed[0]


def test_base64_has_the_same_numbers(client: Client) -> None:
    """The openai client asks for it unless it is told otherwise."""
    plain = client.post("/v1/embeddings", json={"input": TEXTS, "encoding_format": "float"})
    packed = client.post("/v1/embeddings", json={"input": TEXTS, "encoding_format": "base64"})

    assert [from_base64(one) for one in vectors_in(packed)] == vectors_in(plain)  # type: ignore[arg-type]


def test_messagepack_has_the_same_answer(client: Client) -> None:
    """In both directions."""
    kind = {"content-type": "application/msgpack", "accept": "application/msgpack"}
    content = msgspec.msgpack.encode({"input": TEXTS})
    response = client.post("/v1/embeddings", content=content, headers=kind)

    plain = client.post("/v1/embeddings", json={"input": TEXTS})
    assert msgspec.msgpack.decode(response.content) == plain.json()


def test_a_large_request_has_its_answer_from_threads(client: Client) -> None:
    """Bodies over 64 KiB and answers over 256 KiB are read and written apart."""
    texts = [f"text {number} {'x' * 1000}" for number in range(100)]
    found = vectors_in(client.post("/v1/embeddings", json={"input": texts}))

    assert found[7] == vectors_in(client.post("/v1/embeddings", json={"input": texts[7]}))[0]
    assert len(found) == 100


def test_words_before_texts_are_only_those_asked_for(client: Client) -> None:
    """The embedded model has none, so both sides are as bare as no side."""
    plain = client.post("/v1/embeddings", json={"input": "a panda"})
    for side in ("query", "document", "passage", "search_query", "search_document"):
        other = client.post("/v1/embeddings", json={"input": "a panda", "input_type": side})
        assert vectors_in(other) == vectors_in(plain)


REFUSED: dict[str, tuple[dict[str, Any], int, str, str | None]] = {
    "nothing": ({}, 400, "invalid_request", "input"),
    "an empty list": ({"input": []}, 400, "invalid_request", "input"),
    "a number in a list": ({"input": ["a", 1.5]}, 400, "invalid_request", "input[1]"),
    "an object": ({"input": ["a", {"text": "b"}]}, 400, "invalid_request", "input[1]"),
    "token ids": ({"input": [1, 2, 3]}, 422, "cannot_embed", "input[0]"),
    "lists of token ids": ({"input": [[1, 2], [3]]}, 422, "cannot_embed", "input[0]"),
    "another format": (
        {"input": "a", "encoding_format": "int8"},
        400,
        "invalid_request",
        "encoding_format",
    ),
    "fewer dimensions": ({"input": "a", "dimensions": 64}, 422, "cannot_embed", "dimensions"),
    "more dimensions": ({"input": "a", "dimensions": 4096}, 422, "cannot_embed", "dimensions"),
    "no dimensions": ({"input": "a", "dimensions": 0}, 400, "invalid_request", "dimensions"),
    "another side": ({"input": "a", "input_type": "image"}, 422, "cannot_embed", "input_type"),
    "another model": ({"input": "a", "model": "ada"}, 404, "model_not_found", "model"),
    "a long text": ({"input": ["a", "b " * 100]}, 422, "pair_too_long", "input[1]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_have_openais_shape(client: Client, case: str) -> None:
    """The error has a message, a type, a code and the field's path; nothing is guessed."""
    body, status, code, param = REFUSED[case]
    response = client.post("/v1/embeddings", json=body)

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)
    assert error["type"] == "invalid_request_error"


def test_the_models_own_width_may_be_asked_for(client: Client) -> None:
    """Clients repeat what they know of the model."""
    (vector,) = vectors_in(
        client.post("/v1/embeddings", json={"input": "a", "dimensions": VECTOR_WIDTH})
    )
    assert len(vector) == VECTOR_WIDTH


def test_a_long_text_is_cut_where_that_is_allowed(client: Client) -> None:
    """The answer says so, and its vector is that of the beginning."""
    response = client.post("/v1/embeddings", json={"input": "b " * 100, "truncate": True})

    assert response.headers["X-Rerankd-Warning"] == "texts that were cut to fit: 1"
    assert response.json()["usage"]["prompt_tokens"] == 64
    begun = client.post("/v1/embeddings", json={"input": "b " * 62})
    assert vectors_in(response) == vectors_in(begun)


# TEI's dialect


def test_teis_answer_is_a_bare_list(client: Client) -> None:
    """In the order of the inputs, with TEI's headers, and cut where OpenAI would refuse."""
    response = client.post("/embed", json={"inputs": [*TEXTS, "b " * 100], "normalize": True})

    assert response.status_code == 200
    plain = vectors_in(client.post("/v1/embeddings", json={"input": TEXTS}))
    assert response.json()[:3] == plain
    assert response.headers["x-compute-tokens"] == "76"
    assert response.headers["X-Rerankd-Warning"] == "texts that were cut to fit: 1"


TEI_REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no inputs": ({"inputs": []}, 400, "Validation"),
    "raw vectors": ({"inputs": "a", "normalize": False}, 422, "normalize"),
    "lost beginnings": ({"inputs": "a", "truncation_direction": "Left"}, 422, "Left"),
    "another prompt": ({"inputs": "a", "prompt_name": "sts"}, 422, "prompt_name"),
    "a long text": ({"inputs": "b " * 100, "truncate": False}, 422, "64 tokens"),
    "token ids": ({"inputs": [[1, 2]]}, 422, "token ids"),
}


@pytest.mark.parametrize("case", TEI_REFUSED)
def test_refusals_have_teis_shape(client: Client, case: str) -> None:
    """What can't be honoured is refused, in a message and a class."""
    body, status, told = TEI_REFUSED[case]
    response = client.post("/embed", json=body)

    assert response.status_code == status
    assert list(response.json()) == ["error", "error_type"]
    assert response.json()["error_type"] == "Validation"
    assert told in json.dumps(response.json())


# Models


def with_embedder(**settings: Any) -> Service:
    """Return a service of a cross-encoder, with the embedded model deployed as `mini`."""
    service = service_of(**settings)

    async def add() -> None:
        found = await service.deployments.deploy(Spec(id="mini", source="rerank-mini-en"))
        assert found.task
        await found.task

    asyncio.run(add())
    return service


def test_a_model_that_gives_no_vectors_names_those_that_do() -> None:
    """422, with the deployed models that can."""
    with client_of(with_embedder()) as client:
        response = client.post("/v1/embeddings", json={"input": "a", "model": "rerank-mini-en"})

        assert response.status_code == 422
        error = response.json()["error"]
        assert (error["code"], error["param"]) == ("cannot_embed", "model")
        assert error["message"] == "'rerank-mini-en' gives no vectors; these can: 'mini'"


def test_where_no_model_gives_vectors_the_catalogs_are_named() -> None:
    """So that the next step is known."""
    with client_of(service_of()) as client:
        response = client.post("/v1/embeddings", json={"input": "a"})

        assert response.status_code == 422
        assert "from the catalog rerank-mini-en" in response.json()["error"]["message"]


@pytest.mark.parametrize("named", [{}, {"model": None}, {"model": "text-embedding-3-small"}])
def test_a_request_that_leaves_the_model_open_gets_one_that_embeds(named: dict[str, Any]) -> None:
    """The default model only ranks; with any_model, an unknown name is none."""
    with client_of(with_embedder(any_model=True)) as client:
        response = client.post("/v1/embeddings", json={"input": "a", **named})

        assert response.json()["model"] == "mini"


def test_lists_say_which_models_give_vectors() -> None:
    """/v1/models in the facts, the catalog in each entry."""
    with client_of(with_embedder()) as client:
        facts = {one["id"]: one["facts"] for one in client.get("/v1/models").json()["data"]}
        assert {name: one["embeds"] for name, one in facts.items()} == {
            "rerank-mini-en": False,
            "mini": True,
        }
        assert {name: one["dimensions"] for name, one in facts.items()} == {
            "rerank-mini-en": None,
            "mini": 384,
        }
        catalog = client.get("/v1/catalog").json()["data"]
        assert [one["id"] for one in catalog if one["embeds"]] == [
            "rerank-mini-en",
            "rerank-mini-multi",
        ]


# Limits


def test_a_key_gets_only_its_models_and_pays_for_tokens() -> None:
    """Another's model is as unknown as none; what was read counts against the key's budget."""
    service = with_embedder()
    record, key = make_key("k", now=time.time(), models=["mini"], tokens_per_minute=1000)
    ring = KeyStore()
    asyncio.run(ring.add(record))
    app = create_app(service, ring=ring)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = f"Bearer {key}"
        refused = client.post("/v1/embeddings", json={"input": "a", "model": "rerank-mini-en"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
        for body in ({"input": TEXTS}, {"input": TEXTS, "model": "mini"}):
            answered = client.post("/v1/embeddings", json=body)
            assert answered.json()["model"] == "mini"
        assert int(answered.headers["X-RateLimit-Remaining-Tokens"]) <= 1000 - 2 * 12 + 1
    asyncio.run(service.close())


def test_limits_of_requests_hold() -> None:
    """Too many texts, too many tokens, and an answer larger than a body may be."""
    limits = {"max_documents": 3, "max_request_tokens": 40, "max_body_bytes": 25 * VECTOR_WIDTH * 2}
    with client_of(service_of(**EMBEDS, **limits)) as client:
        for texts, code in (
            (["a", "b", "c", "d"], "too_many_documents"),
            (["a " * 30, "b " * 30], "too_many_tokens"),
            (["a", "b", "c"], "too_many_documents"),
        ):
            response = client.post("/v1/embeddings", json={"input": texts})
            assert (response.status_code, response.json()["error"]["code"]) == (422, code)
        packed = {"input": ["a", "b", "c"], "encoding_format": "base64"}
        assert client.post("/v1/embeddings", json=packed).status_code == 200


def test_a_deadline_ends_the_work() -> None:
    """504, and nothing runs for it afterwards."""
    gate = Gate()
    with client_of(service_of(FakeEngine(gate=gate), **EMBEDS)) as client:
        response = client.post("/v1/embeddings", json={"input": "a", "timeout_ms": 30})

        assert response.status_code == 504
        assert response.json()["error"]["code"] == "deadline_exceeded"
        gate.open()


def test_a_client_that_leaves_ends_its_work() -> None:
    """The request counts as one whose client has gone, and its rows are dropped."""
    gate = Gate()
    service = service_of(FakeEngine(gate=gate), start=False, **EMBEDS)
    ended, told = threading.Event(), []

    class Watching:
        def ranked(self, outcome: Outcome) -> None:
            told.append(outcome)
            ended.set()

        def stepped(self, model: str, step: StepFacts) -> None:
            """Nothing to see."""

    service.embedding._observer = Watching()
    with server_of(service) as url:
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            asking = threading.Thread(target=_ask_and_leave, args=(client,))
            asking.start()
            gate.await_step()
            asking.join(PATIENCE)
        assert ended.wait(PATIENCE)
        gate.open()
    assert [(one.error, one.work) for one in told] == [("client_closed", "embed")]


def _ask_and_leave(client: httpx.Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/embeddings", json={"input": "a"}, timeout=0.2)


# What is told of it


def test_it_is_counted_and_logged_without_its_texts(caplog: pytest.LogCaptureFixture) -> None:
    """Usage, metrics and the access log have numbers; none has a word of a text."""
    caplog.set_level(logging.DEBUG)
    service = service_of(**EMBEDS)
    with client_of(service) as client:
        client.post("/v1/embeddings", json={"input": ["secret words", "b"]})
        rerank(client, query="q", documents=["d"])
        metrics = client.get("/metrics").text
    telemetry = telemetry_of(service)
    assert telemetry
    used = telemetry.usage.report("hour").totals

    assert (used.requests, used.documents) == (2, 3)
    for line in (
        'rerankd_embedding_requests_total{model="rerank-mini-en"} 1.0',
        'rerankd_requests_total{model="rerank-mini-en"} 1.0',
        'rerankd_embedded_texts_total{model="rerank-mini-en"} 2.0',
        'rerankd_documents_total{model="rerank-mini-en"} 1.0',
    ):
        assert line in metrics
    (record,) = [one for one in caplog.records if getattr(one, "path", "") == "/v1/embeddings"]
    assert (record.documents, record.tokens) == (2, 7)  # type: ignore[attr-defined]
    assert "secret" not in caplog.text + metrics
