"""The service end to end on the embedded model: the real engine, no network."""

from __future__ import annotations

import asyncio
import math
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from litestar.testing import TestClient

from rerankd.service import Service, build
from rerankd.settings import Settings

from support.serving import client_of, rerank

PANDA = (
    "The giant panda (Ailuropoda melanoleuca), sometimes called a panda bear or simply panda, "
    "is a bear species endemic to China."
)
DOCUMENTS = ["hi", "it is a bear", PANDA]


def real_service(**settings: Any) -> Service:
    """Return a ready service of the embedded model."""
    configured = Settings(**settings)
    service = build(configured)
    asyncio.run(service.start())
    return service


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Any]]:
    """Yield a client of the embedded model."""
    with client_of(real_service()) as found:
        yield found


def test_panda_question_gets_the_right_order(client: TestClient[Any]) -> None:
    """The giant panda comes first and `hi` last, with probabilities that say so."""
    response = rerank(
        client, model="rerank-mini-en", query="What is a panda?", top_n=3, documents=DOCUMENTS
    )

    results = response.json()["results"]
    assert [row["index"] for row in results] == [2, 1, 0]
    assert results[0]["relevance_score"] > 0.9
    assert results[2]["relevance_score"] < 0.01


def test_scores_are_those_of_the_card(client: TestClient[Any]) -> None:
    """The card's logits for the panda question, made with PyTorch in F32: within 0.1."""
    response = rerank(client, query="What is a panda?", documents=DOCUMENTS, raw_scores=True)

    found = {row["index"]: row["relevance_score"] for row in response.json()["results"]}
    for index, expected in enumerate((-5.454, 0.056, 3.538)):
        assert math.isclose(expected, found[index], abs_tol=0.1)


def test_control_tokens_in_text_are_only_text(client: TestClient[Any]) -> None:
    """A document that spells [SEP] is not cut in two: its tokens are counted as words."""
    plain = rerank(client, query="a", documents=["sep"]).json()["usage"]["prompt_tokens"]
    spelled = rerank(client, query="a", documents=["[SEP]"]).json()["usage"]["prompt_tokens"]

    assert spelled == plain + 2  # the brackets are words of their own


def test_long_documents_are_cut_at_the_context(client: TestClient[Any]) -> None:
    """A document of 3,000 words is cut to the model's 512 tokens and named."""
    response = rerank(client, query="panda", documents=["bear", "panda " * 3000])

    assert response.json()["meta"]["truncated"] == [1]
    assert response.json()["usage"]["prompt_tokens"] == 512 + 6


def test_long_queries_leave_room_for_documents(client: TestClient[Any]) -> None:
    """A query of 3,000 words is cut to its share, which is told, and the order still holds."""
    response = rerank(client, query="panda " * 3000, documents=["hello there", "panda bear"])

    body = response.json()
    assert [row["index"] for row in body["results"]] == [1, 0]
    assert any("the query was truncated" in text for text in body["meta"]["warnings"])


def test_order_never_depends_on_neighbours(client: TestClient[Any]) -> None:
    """A document's score among 60 others is its score alone, within Q8_0's rounding."""
    rng = random.Random(7)
    words = ("panda", "bear", "china", "bamboo", "tree", "river", "stone", "music")
    others = [" ".join(rng.choices(words, k=rng.randint(1, 120))) for _ in range(60)]

    many = rerank(client, query="panda", documents=[PANDA, *others], raw_scores=True).json()
    alone = rerank(client, query="panda", documents=[PANDA], raw_scores=True).json()

    among = next(row for row in many["results"] if row["index"] == 0)
    assert math.isclose(
        among["relevance_score"], alone["results"][0]["relevance_score"], abs_tol=0.15
    )


@pytest.mark.parametrize("text", ["", "\0", "\n\n", "🐼" * 400, "a" * 20_000, "�", "\u202e"])
def test_strange_documents_get_a_score(client: TestClient[Any], text: str) -> None:
    """Nothing that JSON can carry breaks the tokenizer or the engine."""
    response = rerank(client, query="q", documents=[text, "x"])

    assert response.status_code == 200
    assert len(response.json()["results"]) == 2


def test_no_socket_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every outgoing connection and look-up forbidden, the default model loads and ranks."""

    def forbidden(*_arguments: object, **_options: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(socket.socket, "connect_ex", forbidden)
    monkeypatch.setattr(socket.socket, "sendto", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    with client_of(real_service()) as client:
        response = rerank(client, query="What is a panda?", documents=DOCUMENTS)

    assert [row["index"] for row in response.json()["results"]] == [2, 1, 0]


def test_facts_tell_what_runs(client: TestClient[Any]) -> None:
    """The list of models tells the file, the context and where it runs."""
    facts = client.get("/v1/models").json()["data"][0]["facts"]

    assert (facts["file"], facts["context"]) == ("rerank-mini-en-q8_0.gguf", 512)
    assert (facts["device"], facts["gpu_layers"]) == ("cpu", 0)
    assert (facts["license"], facts["languages"]) == ("Apache-2.0", ["en"])
    assert facts["parameters"] == 22_565_376


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_order(workers: int) -> None:
    """However many workers there are, the order is the same."""
    with client_of(real_service(workers=workers, threads=1)) as client:
        response = rerank(client, query="What is a panda?", documents=DOCUMENTS * 7)

    assert [row["index"] % 3 for row in response.json()["results"]] == [2] * 7 + [1] * 7 + [0] * 7
