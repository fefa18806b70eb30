"""What clients see of the choice among embedded models, and of languages that a model lacks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.testing import TestClient

from support.serving import client_of, rerank, server_of
from support.two_embedded import ENGLISH, MANY, TwoEngines, install, service_of_two

pytestmark = pytest.mark.slow

Client = TestClient[Any]

QUERY = "Was ist das für ein Bär?"
TEXTS = ["Der Panda ist ein Bär, der in den Wäldern lebt.", "Es wird auf dem Land regnen."]
REASON = f"the documents are in German (de), which {ENGLISH} does not have"
WARNING = (
    f"the query and documents are in German (de), which {ENGLISH}'s card doesn't list; {MANY} does"
)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A server of both stand-ins."""
    install(tmp_path, monkeypatch)
    service = service_of_two(TwoEngines())
    asyncio.run(service.start())
    with client_of(service) as found:
        yield found


def test_meta_says_which_model_ranked_and_why(client: Client) -> None:
    """Where the server chose; an answer to English texts has none of it."""
    german = rerank(client, query=QUERY, documents=TEXTS).json()
    english = rerank(client, query="What is it?", documents=["It is a bear of the woods."]).json()

    assert MANY == german["model"]
    assert {"model": MANY, "language": "de", "model_reason": REASON} == {
        name: german["meta"][name] for name in ("model", "language", "model_reason")
    }
    assert [] == german["meta"]["warnings"]
    assert ENGLISH == english["model"]
    assert english["meta"].keys().isdisjoint({"model", "language", "model_reason"})


def test_auto_is_a_name_for_the_choice(client: Client) -> None:
    """Clients that must name a model name this one."""
    german = rerank(client, model="auto", query=QUERY, documents=TEXTS).json()
    english = rerank(client, model="auto", query="What?", documents=["It is a bear."]).json()

    assert MANY == german["model"]
    assert (ENGLISH, ENGLISH) == (english["model"], english["meta"]["model"])
    assert "language" not in english["meta"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rerank", {"query": QUERY, "documents": TEXTS}),
        ("/v2/rerank", {"model": "auto", "query": QUERY, "documents": TEXTS}),
        ("/v1/rerank", {"query": QUERY, "documents": TEXTS, "top_k": 2, "truncation": True}),
        ("/rerank", {"query": QUERY, "documents": TEXTS, "return_documents": False}),
        ("/api/rerank", {"model": "auto", "query": QUERY, "documents": TEXTS}),
        ("/score", {"text_1": QUERY, "text_2": TEXTS}),
    ],
)
def test_every_dialect_names_the_model_that_ranked(
    client: Client, path: str, body: dict[str, Any]
) -> None:
    """Its `model` is the chosen one, not the request's."""
    answer = client.post(path, json=body)

    assert 200 == answer.status_code
    assert MANY == answer.json()["model"]


def test_a_stream_says_it_too(client: Client) -> None:
    """The last line has the whole answer."""
    answer = client.post(
        "/v1/rerank",
        json={"query": QUERY, "documents": TEXTS},
        headers={"Accept": "application/x-ndjson"},
    )

    assert f'"model":"{MANY}"' in answer.text.splitlines()[-1].replace(" ", "")
    assert REASON in answer.text.splitlines()[-1]


def test_a_named_model_warns_where_there_is_room(client: Client) -> None:
    """In `meta`, or in a header of dialects that have none."""
    named = {"model": ENGLISH, "query": QUERY, "documents": TEXTS}

    native = client.post("/v1/rerank", json=named)
    scores = client.post("/score", json={"model": ENGLISH, "text_1": QUERY, "text_2": TEXTS})

    assert [WARNING] == native.json()["meta"]["warnings"]
    assert ENGLISH == native.json()["model"]
    assert WARNING == scores.headers["X-Rerankd-Warning"]


def test_both_models_are_listed_and_managed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that isn't loaded yet says so; stopping it ends the choice."""
    install(tmp_path, monkeypatch)
    service = service_of_two(TwoEngines())
    with server_of(service) as url, httpx.Client(base_url=url) as client:
        listed = client.get("/v1/models").json()["data"]
        offered = client.get(f"/v1/deployments/{MANY}").json()
        stopped = client.delete(f"/v1/deployments/{MANY}").json()
        answer = rerank(client, query=QUERY, documents=TEXTS).json()

    assert [(ENGLISH, "ready"), (MANY, "absent")] == [(one["id"], one["state"]) for one in listed]
    assert ("loaded when a request needs it", MANY) == (offered["message"], offered["model"])
    assert {"id": MANY, "deleted": True} == stopped
    assert ENGLISH == answer["model"]
    assert 1 == len(answer["meta"]["warnings"])


@pytest.mark.parametrize("texts", [["\ud800 Wälder"], ["\0" * 50], ["ä" * 5000, "中" * 5000]])
def test_odd_texts_are_ranked(client: Client, texts: list[str]) -> None:
    """Detection raises for no text."""
    body = json.dumps({"query": texts[0], "documents": texts})

    assert 200 == client.post("/v1/rerank", content=body).status_code
