"""Scores as lines: told as they are computed, whole at the end, and with errors that are seen."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from rerankd.domain import RankedDocument

from support.fakes import PATIENCE, Gate
from support.serving import FakeEngine, client_of, rerank, server_of, service_of

pytestmark = pytest.mark.slow

NDJSON = {"Accept": "application/x-ndjson"}
DOCUMENTS = [f"{'word ' * (1 + number % 5)}{number}" for number in range(20)]


@contextmanager
def streamed(url: str, **body: Any) -> Iterator[tuple[httpx.Response, Iterator[Any]]]:
    """Yield a stream's response and its lines, each as it comes."""
    with httpx.stream(
        "POST", f"{url}/v1/rerank", json={"query": "q", **body}, headers=NDJSON, timeout=PATIENCE
    ) as response:
        yield response, map(json.loads, response.iter_lines())


def test_lines_have_every_score_and_the_last_is_the_answer() -> None:
    """Each document's line has the score it has in the ranking, which is the usual answer."""
    with server_of(service_of()) as url:
        with streamed(url, documents=DOCUMENTS) as (response, lines):
            *scores, answer = lines
        with httpx.Client(base_url=url) as client:
            expected = rerank(client, query="q", documents=DOCUMENTS).json()

    assert response.headers["content-type"] == "application/x-ndjson"
    assert {"index", "relevance_score"} == set().union(*scores)
    found = {line["index"]: line["relevance_score"] for line in scores}
    assert len(scores) == len(found) == len(DOCUMENTS)
    assert found == {one["index"]: one["relevance_score"] for one in answer["results"]}
    assert answer.keys() == expected.keys()
    assert answer["results"] == expected["results"]


@pytest.mark.parametrize(
    "name", ["application/ndjson", "application/jsonl", "application/x-ndjson"]
)
def test_stream_has_the_name_it_was_asked_by(name: str) -> None:
    """A client's own word for the type is kept, and proxies are asked to pass lines on."""
    with client_of(service_of()) as client:
        answer = client.post(
            "/v1/rerank", json={"query": "q", "documents": ["a"]}, headers={"Accept": name}
        )

    assert name == answer.headers["content-type"]
    assert "no" == answer.headers["x-accel-buffering"]
    assert "Accept" in answer.headers["vary"]


def test_scores_come_before_the_ranking_is_done() -> None:
    """The first step's scores can be read while the second step has not run."""
    gate = Gate()
    with (
        server_of(service_of(FakeEngine(gate=gate))) as url,
        _stepping(gate),
        streamed(url, documents=DOCUMENTS) as (_, lines),
    ):
        first = next(lines)
        gate.open()
        rest = list(lines)

    assert "relevance_score" in first
    assert len(DOCUMENTS) == len(rest)


@contextmanager
def _stepping(gate: Gate) -> Iterator[None]:
    """Let one step through, so that a stream begins; open the gate in any case."""
    gate.let(1)
    try:
        yield
    finally:
        gate.open()


def test_known_scores_come_at_once() -> None:
    """What the cache knows is told before the engine runs."""
    gate = Gate()
    engine = FakeEngine(gate=gate)
    with server_of(service_of(engine)) as url, httpx.Client(base_url=url) as client:
        gate.let(1)
        rerank(client, query="q", documents=["one two"])
        with streamed(url, documents=["one two", "one two three"]) as (_, lines):
            first = next(lines)
            gate.open()
            rest = list(lines)

    assert 0 == first["index"]
    assert 1 == rest[0]["index"]
    assert 2 == len(rest[1]["results"])


def test_same_document_twice_has_two_lines() -> None:
    """Every document of the request has its line, also one that is scored with another."""
    with server_of(service_of()) as url, streamed(url, documents=["a", "b c", "a"]) as (_, lines):
        *scores, _answer = lines

    assert [0, 1, 2] == sorted(line["index"] for line in scores)


def test_top_n_shortens_the_ranking_only() -> None:
    """All scores are told; the ranking at the end is as long as was asked for."""
    with (
        server_of(service_of()) as url,
        streamed(url, documents=DOCUMENTS, top_n=2) as (_, lines),
    ):
        *scores, answer = lines

    assert (len(DOCUMENTS), 2) == (len(scores), len(answer["results"]))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"documents": []}, 400),
        ({"documents": ["a"], "model": "nothing"}, 404),
        ({"documents": ["a"] * 30}, 422),
        ({"documents": ["poison"]}, 500),
    ],
)
def test_errors_before_the_first_score_have_their_status(body: dict[str, Any], status: int) -> None:
    """Nothing was told yet, so the answer is the usual error."""
    service = service_of(max_documents=25)
    with server_of(service) as url, streamed(url, **body) as (response, lines):
        answer = next(lines)

    assert status == response.status_code
    assert response.headers["content-type"] == "application/json"
    assert "error" in answer


def test_errors_after_the_first_score_are_the_last_line() -> None:
    """A failure halfway is told, and no ranking is made of what there is."""
    documents = [*DOCUMENTS, "poison"]
    with (
        server_of(service_of()) as url,
        streamed(url, documents=documents) as (response, lines),
    ):
        *scores, last = lines

    assert 200 == response.status_code
    assert scores
    assert all("relevance_score" in line for line in scores)
    assert "engine_failure" == last["error"]["code"]


@pytest.mark.parametrize(("more", "last"), [([], list), (["poison"], dict)])
def test_last_line_is_in_the_dialect_of_the_request(more: list[str], last: type) -> None:
    """TEI's clients get TEI's bare list at the end, or TEI's error."""
    body = {"query": "q", "texts": [*DOCUMENTS, *more]}
    with (
        server_of(service_of()) as url,
        httpx.Client(base_url=url, headers=NDJSON, timeout=PATIENCE) as client,
    ):
        *scores, end = map(json.loads, client.post("/rerank", json=body).iter_lines())

    assert all({"index", "relevance_score"} == line.keys() for line in scores)
    assert isinstance(end, last)
    assert more == [] or end["error_type"] == "Backend"


def test_requests_of_many_queries_are_answered_whole() -> None:
    """Scores of pairs have no place of their own in one ranking, so they come together."""
    body = {"text_1": ["a", "b"], "text_2": ["c", "d"]}
    with client_of(service_of()) as client:
        answer = client.post("/v1/score", json=body, headers=NDJSON)

    assert "application/json" == answer.headers["content-type"]
    assert [0, 1] == [one["index"] for one in answer.json()["data"]]


def test_time_that_runs_out_halfway_is_the_last_line() -> None:
    """A deadline that passes after the first score is told where the stream ends."""
    gate = Gate()
    with (
        server_of(service_of(FakeEngine(gate=gate))) as url,
        _stepping(gate),
        streamed(url, documents=DOCUMENTS, timeout_ms=400) as (response, lines),
    ):
        *scores, end = lines

    assert 200 == response.status_code
    assert scores
    assert "deadline_exceeded" == end["error"]["code"]


def test_unexpected_errors_are_told_without_their_insides(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours halfway ends the stream in words; the log has the rest."""
    service = service_of()

    async def breaks(_request: Any, *, on_scored: Any, **_: Any) -> Any:
        on_scored([RankedDocument(0, 0.5)])
        raise ValueError("secret")

    monkeypatch.setattr(service, "rank", breaks)
    with server_of(service) as url, streamed(url, documents=["a"]) as (response, lines):
        last = list(lines)[-1]

    assert "internal_error" == last["error"]["code"]
    assert "secret" not in json.dumps(last)
    assert 200 == response.status_code
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("steps", [0, 1], ids=["before the first score", "between scores"])
def test_ranking_ends_when_the_client_leaves(steps: int) -> None:
    """Documents that have not run when the connection closes never do."""
    gate = Gate()
    engine = FakeEngine(gate=gate)
    documents = [f"{number} x y z" for number in range(200)]
    with server_of(service_of(engine)) as url, httpx.Client(base_url=url) as client:
        _leave(url, documents, gate, steps)
        _await_idle(client)
        gate.open()
        assert 200 == rerank(client, query="q", documents=["a"]).status_code

    assert engine.rows_run <= 8 * (steps + 1) + 1


def _leave(url: str, documents: list[str], gate: Gate, steps: int) -> None:
    """Ask for a stream and close the connection when one more step than these stands ready."""
    if steps:
        gate.let(steps)
    content = json.dumps({"query": "q", "documents": documents}).encode()
    head = (
        "POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), PATIENCE) as connection:
        connection.sendall(head.encode() + content)
        for _ in range(steps + 1):
            gate.await_step()
        if steps:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def _await_idle(client: httpx.Client) -> None:
    """Wait until no request is waiting; every look is a request of its own."""
    for _ in range(1000):
        load = client.get("/v1/models").json()["data"][0]["load"]
        if not load["requests"]:
            return
    raise AssertionError("the request never ended")


def test_compressed_lines_can_be_read_one_by_one() -> None:
    """A compressed stream is flushed with every part."""
    gate = Gate()
    headers = NDJSON | {"Accept-Encoding": "gzip"}
    body = {"query": "q", "documents": DOCUMENTS}
    with (
        server_of(service_of(FakeEngine(gate=gate))) as url,
        _stepping(gate),
        httpx.stream("POST", f"{url}/v1/rerank", json=body, headers=headers) as response,
    ):
        lines = response.iter_lines()
        first = json.loads(next(lines))
        gate.open()
        rest = list(lines)

    assert "gzip" == response.headers["content-encoding"]
    assert "relevance_score" in first
    assert len(DOCUMENTS) == len(rest)


def test_slow_reader_gets_all_in_the_end() -> None:
    """Scores of thousands of documents wait for a client that reads late, and none is lost."""
    documents = [str(number) for number in range(5000)]
    with (
        server_of(service_of()) as url,
        httpx.Client(base_url=url, timeout=PATIENCE) as client,
        streamed(url, documents=documents, return_documents=False) as (_, lines),
    ):
        first = next(lines)
        _await_idle(client)
        *scores, answer = lines

    told = {line["index"] for line in [first, *scores]}
    assert set(range(5000)) == told
    assert 5000 == len(answer["results"])
