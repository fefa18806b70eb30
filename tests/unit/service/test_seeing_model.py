"""Pictures from a request to its answer through llama.cpp: streamed, partial, many, kept, cut."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from rerankd.domain import Prompt
from rerankd.engine import Engine, open_engine
from rerankd.engine.llama import mtmd

from support.deadlines import time_for
from support.drawn_pictures import drawn
from support.picture_requests import PANDA, QUESTION, RICE
from support.seeing import SEEING_MODEL, opened_service, seeing_files
from support.serving import client_of

pytestmark = pytest.mark.skipif(not mtmd.is_built(), reason="the engine's build has no libmtmd")

Client = TestClient[Any]


def picture(name: str, **more: Any) -> dict[str, Any]:
    uri = f"data:image/png;base64,{base64.b64encode(drawn(name)).decode()}"
    return {"image": uri, **more}


SMALL, GREY = picture("small"), picture("grey")
DOCUMENTS = [PANDA, SMALL, picture("few colours", text=RICE), GREY, {"image": SMALL["image"]}]


class OneRowBackend:
    """A backend whose steps hold a single row."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.limits = msgspec.structs.replace(backend.limits, step_rows=1)

    def run(self, step: Sequence[Prompt]) -> list[list[float]]:
        found: list[list[float]] = self._backend.run(step)
        return found

    def close(self) -> None:
        self._backend.close()


def open_by_rows(*args: Any, **kwargs: Any) -> Engine:
    """Open an engine that takes a row in each step, so that tests can count them."""
    engine = open_engine(*args, **kwargs)
    engine.backends = tuple(map(OneRowBackend, engine.backends))
    return engine


@pytest.fixture(scope="module")
def files() -> Iterator[dict[str, Any]]:
    with seeing_files() as found:
        yield found | {"threads": 1, "kv_type": "f32", "flash_attn": "off"}


@pytest.fixture
def client(files: dict[str, Any]) -> Iterator[Client]:
    """Yield a client of a server over the tiny model."""
    with client_of(opened_service(open_engine, **files)) as found:
        yield found


def scores_of(answer: Any) -> dict[int, float]:
    return {one["index"]: one["relevance_score"] for one in answer["results"]}


def ranked(client: Client, **body: Any) -> Any:
    answer = client.post("/v1/rerank", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_known_and_equal_pictures_are_scored_once(client: Client) -> None:
    """Their scores are kept as those of texts; tokens and sizes are reported each time."""
    first = ranked(client, query=QUESTION, documents=DOCUMENTS)
    again = ranked(client, query=QUESTION, documents=DOCUMENTS[::-1])

    assert (first["meta"]["cached"], again["meta"]["cached"]) == (0, 5)
    scores = scores_of(first)
    assert scores[1] == scores[4]
    assert len(set(scores.values())) == 4
    assert scores == {4 - index: score for index, score in scores_of(again).items()}
    assert first["usage"] == again["usage"]
    assert [one["index"] for one in first["meta"]["pictures"]] == [1, 2, 3, 4]
    assert first["model"] == SEEING_MODEL


def test_streamed_scores_of_pictures_are_the_ranking_s(client: Client) -> None:
    """Each document has one line, and the last is the answer that comes without a stream."""
    body = {"query": GREY, "documents": DOCUMENTS}
    streamed = client.post("/v1/rerank", json=body, headers={"Accept": "application/x-ndjson"})
    *lines, last = map(json.loads, streamed.text.splitlines())
    whole = ranked(client, **body)

    assert {one["index"]: one["relevance_score"] for one in lines} == scores_of(last)
    assert scores_of(whole) == scores_of(last)
    assert whole["meta"]["pictures"] == last["meta"]["pictures"]
    assert last["meta"]["pictures"][0]["index"] is None


def test_a_bad_picture_refuses_a_stream_before_it_begins(client: Client) -> None:
    headers = {"Accept": "application/x-ndjson"}
    body = {"query": QUESTION, "documents": [PANDA, {"image": SMALL["image"][:90]}]}

    answer = client.post("/v1/rerank", json=body, headers=headers)

    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "documents[1]")


def test_several_queries_score_as_each_alone(client: Client) -> None:
    """Pictures as queries and as documents, of which each pair is counted by itself."""
    pairs = [(QUESTION, SMALL), (GREY, PANDA), (SMALL, GREY), (GREY, SMALL)]
    body = {"text_1": [one for one, _ in pairs], "text_2": [one for _, one in pairs]}
    together = client.post("/v1/score", json=body).json()
    alone = [ranked(client, query=one, documents=[other]) for one, other in pairs]

    expected = [scores_of(one)[0] for one in alone]
    assert [one["score"] for one in together["data"]] == pytest.approx(expected, abs=1e-5)
    assert together["usage"]["prompt_tokens"] == sum(one["usage"]["prompt_tokens"] for one in alone)


def test_partial_answers_hold_the_pictures_that_were_scored(files: dict[str, Any]) -> None:
    """The others follow without a score, and a second request goes on where this one stopped."""
    body = {"query": SMALL, "documents": DOCUMENTS[:4], "timeout_ms": 60_000}
    body["on_timeout"] = "partial"
    with client_of(opened_service(open_by_rows, **files)) as client:
        with time_for(2):
            partial = ranked(client, **body)
        whole = ranked(client, **body)

    assert partial["meta"]["partial"] == {"scored": 2, "unscored": 2}
    missing = [one["index"] for one in partial["results"] if one.get("scored") is False]
    assert missing == [2, 3]
    assert "partial" not in whole["meta"]
    assert whole["meta"]["cached"] == 2
    found = {index: score for index, score in scores_of(partial).items() if index < 2}
    assert found.items() <= scores_of(whole).items()
    fewer = partial["usage"]["prompt_tokens_details"]["image_tokens"]
    assert 0 < fewer < whole["usage"]["prompt_tokens_details"]["image_tokens"]


def test_options_for_texts_take_a_document_s_text(client: Client) -> None:
    """BM25 counts the words beside a picture; chunks are of texts alone; the lowest are dropped."""
    documents = [picture("small", text=f"{RICE} " * 20), f"{RICE} " * 20, SMALL]
    plainly = ranked(client, query=RICE, documents=documents, raw_scores=True)
    options = {"raw_scores": True, "hybrid": 2.0}
    found = ranked(client, query=RICE, documents=documents, **options)
    split = ranked(
        client,
        query=RICE,
        documents=documents,
        overflow="chunk",
        chunk_tokens=32,
        return_passages=True,
    )
    least = max(scores_of(plainly).values())
    top = ranked(client, query=RICE, documents=documents, raw_scores=True, min_score=least)

    assert scores_of(found)[0] > scores_of(plainly)[0]
    assert scores_of(found)[2] == scores_of(plainly)[2]
    passages = {one["index"]: one["passages"] for one in split["results"]}
    assert len(passages[0]) == 1 < len(passages[1])
    assert len(top["results"]) == 1
    assert top["meta"]["below_min_score"] == 2


def test_vectors_of_pictures_are_refused(client: Client) -> None:
    """A model that sees gives no vectors, and no route for vectors reads pictures."""
    texts = client.post("/v1/embeddings", json={"input": [PANDA]})
    pictures = client.post("/v1/embeddings", json={"input": [SMALL]})

    assert (texts.status_code, texts.json()["error"]["code"]) == (422, "cannot_embed")
    assert (pictures.status_code, pictures.json()["error"]["param"]) == (400, "input[0]")
