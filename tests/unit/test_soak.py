"""The soak's judging: a server that lies, drops, leaks or stalls does not pass."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from support.soak import pulse
from support.soak.answers import (
    LOGIT_TOLERANCE,
    NATIVE,
    WIRES,
    AskedQuestion,
    fault_of,
    logit,
    questions,
)
from support.soak.behaved import raw_post
from support.soak.managed import bad_files, short_lived_keys
from support.soak.tally import Process, SoakOutcome, Tally
from support.soak.world import World

EXPECTED_LOGITS = (1.0, -2.0, 3.0)
ASKED_QUESTION = AskedQuestion("q", ("a", "b", "c"), EXPECTED_LOGITS)
RIGHT_ANSWER = ((2, 3.0), (0, 1.0), (1, -2.0))


@pytest.mark.parametrize(
    ("found", "top"),
    [
        (RIGHT_ANSWER, None),
        (RIGHT_ANSWER[:2], 2),
        (((2, 3.0 - LOGIT_TOLERANCE / 2), (0, 1.0), (1, -2.0)), None),
    ],
)
def test_a_right_answer_has_no_fault(found: Any, top: int | None) -> None:
    """Scores within the tolerance and a shorter answer that was asked for are right."""
    assert fault_of(EXPECTED_LOGITS, found, top) == ""


@pytest.mark.parametrize(
    ("found", "top", "words"),
    [
        (RIGHT_ANSWER[:2], None, "2 documents instead of 3"),
        ((*RIGHT_ANSWER[:2], RIGHT_ANSWER[1]), None, "2 documents"),
        (((7, 3.0), *RIGHT_ANSWER[1:]), None, "never sent"),
        (((2, 3.0 - 2 * LOGIT_TOLERANCE), *RIGHT_ANSWER[1:]), None, "instead of 3.0000"),
        (((2, math.nan), *RIGHT_ANSWER[1:]), None, "nan"),
        ((RIGHT_ANSWER[1], RIGHT_ANSWER[0], RIGHT_ANSWER[2]), None, "descending"),
        ((RIGHT_ANSWER[1], RIGHT_ANSWER[2]), 2, "better document"),
    ],
)
def test_a_wrong_answer_has_a_fault(found: Any, top: int | None, words: str) -> None:
    """A document missing, twice or made up, another score, another order, or not the best."""
    assert words in fault_of(EXPECTED_LOGITS, found, top)


def test_scores_of_two_documents_that_were_swapped_are_wrong() -> None:
    """The scores alone look right: it is the documents that they belong to."""
    assert fault_of(EXPECTED_LOGITS, ((0, 3.0), (2, 1.0), (1, -2.0)))


def test_questions_depend_on_the_seed_alone() -> None:
    """Two runs ask the same."""
    assert questions(3, 5, 4) == questions(3, 5, 4) != questions(4, 5, 4)


def test_each_dialect_reads_its_own_scores() -> None:
    """The layouts are those that the server's tests of dialects hold; here one of each shape."""
    half = {"index": 0, "relevance_score": 0.5, "score": 0.5, "logit": 0.0}
    rows = [half]
    reply = {"results": rows, "data": rows, "rankings": rows, "output": {"results": rows}}
    for wire in WIRES:
        assert wire.read(rows if wire.path == "/rerank" else reply) == [(0, 0.0)], wire.path
        assert msgspec.json.encode(wire.body(ASKED_QUESTION))
    assert logit(1.0) == math.inf


def sound_outcome(tally: Tally | None = None, **changed: Any) -> SoakOutcome:
    """Return the outcome of a soak without faults, but for what is changed."""
    calm = Process(megabytes=150.0, files=10, threads=20)
    if tally is None:
        tally = Tally()
        tally.sent("small", 0.01)
    sound = SoakOutcome(
        seed=1,
        minutes=1.0,
        tally=tally,
        health=[0.01, 0.02],
        probe_lag=0.0,
        before=calm,
        after=calm,
        log_bytes=1000,
        tracebacks=0,
        exit_code=0,
        stop_seconds=1.0,
    )
    return replace(sound, **changed)


def test_a_sound_soak_breaks_no_bound() -> None:
    """Its tables have each kind of traffic and each figure."""
    sound = sound_outcome()

    assert sound.broken() == []
    assert "| small | 1 | 10 | 10 | 10 |" in sound.as_markdown()
    assert msgspec.json.decode(sound.as_json())["kinds"]["small"]["worst"] == 0.01


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"health": [0.01, 0.3]}, "took too long"),
        ({"health": [0.01, None]}, "failed"),
        ({"health": []}, "no health check"),
        ({"after": Process(megabytes=190.0, files=10, threads=20)}, "memory"),
        ({"after": Process(megabytes=150.0, files=40, threads=20)}, "files"),
        ({"after": Process(megabytes=150.0, files=10, threads=40)}, "threads"),
        ({"log_bytes": 10_000_000}, "log"),
        ({"tracebacks": 1}, "1 tracebacks"),
        ({"exit_code": -11}, "-11"),
        ({"tally": Tally()}, "no traffic"),
    ],
)
def test_a_broken_bound_is_named(changed: dict[str, Any], words: str) -> None:
    """A server that stalls, leaks, floods its log or dies does not pass."""
    (broken,) = sound_outcome(**changed).broken()

    assert words in broken


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def canned(status: int, body: Any, *, cut: bool = False) -> Handler:
    """Return a server's handler that answers everything alike, or breaks off halfway."""
    content = msgspec.json.encode(body)
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    whole = head.encode() + content

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(whole[:-1] if cut else whole)
        await writer.drain()
        writer.close()

    return handle


async def drops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a request and answer nothing."""
    await reader.read(65536)
    writer.transport.abort()


def native_reply(found: Any) -> dict[str, Any]:
    """Return an answer in the native dialect."""
    return {
        "results": [
            {"index": index, "relevance_score": 1 / (1 + math.exp(-score))}
            for index, score in found
        ]
    }


def tallied(handler: Handler, doing: Callable[[World], Coroutine[Any, Any, None]]) -> Tally:
    """Return what a client counts that does something at a fake server."""

    async def run() -> Tally:
        async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
            world = World(
                port=server.sockets[0].getsockname()[1],
                key="k",
                seed=1,
                tally=Tally(),
                small=(ASKED_QUESTION,),
                large=(),
                ending=asyncio.Event(),
            )
            await doing(world)
            return world.tally

    return asyncio.run(run())


async def ask_once(world: World) -> None:
    """Send one small request."""
    async with world.client() as client:
        await world.ask(client, "small", ASKED_QUESTION, NATIVE)


def test_a_server_that_answers_rightly_passes() -> None:
    """Nothing is wrong, lost or refused."""
    tally = tallied(canned(200, native_reply(RIGHT_ANSWER)), ask_once)

    assert (tally.wrong, tally.lost, tally.total) == ([], [], 1)


def test_a_server_that_lies_is_found_out() -> None:
    """The scores are compared with the references."""
    tally = tallied(canned(200, native_reply(((0, 3.0), (2, 1.0), (1, -2.0)))), ask_once)

    assert len(tally.wrong) == 1
    assert sound_outcome(tally).broken() == ["1 wrong answers"]


@pytest.mark.parametrize(
    "handler",
    [drops, canned(200, native_reply(RIGHT_ANSWER), cut=True), canned(400, {"error": "why"})],
)
def test_a_server_that_drops_requests_is_found_out(handler: Handler) -> None:
    """No answer, half of one, or a refusal of a request in order: all are lost."""
    tally = tallied(handler, ask_once)

    assert len(tally.lost) == 1
    assert sound_outcome(tally).broken() == ["1 requests were lost"]


def test_a_busy_server_may_refuse() -> None:
    """The refusal is counted, and nothing is lost."""
    tally = tallied(canned(503, {"error": "later"}), ask_once)

    assert (tally.lost, tally.refusals) == ([], {503: 1})


def test_a_server_that_serves_a_revoked_key_is_found_out() -> None:
    """One answer of each kind of request is enough of a fake here."""
    made = {**native_reply(RIGHT_ANSWER), "id": "key-1", "key": "secret"}

    async def one_round(world: World) -> None:
        asyncio.get_running_loop().call_soon(world.ending.set)
        await short_lived_keys(world, random.Random(1))

    tally = tallied(canned(200, made), one_round)

    assert tally.wrong == ["revoked keys: a revoked key got 200"]


@pytest.mark.parametrize(("status", "served"), [(200, True), (503, False)])
def test_a_health_check_fails_with_the_status(*, status: int, served: bool) -> None:
    """A check that is refused has no latency."""

    async def check(world: World) -> None:
        found = await asyncio.to_thread(pulse.health_check, world.port, "/health")
        assert (found is not None) is served

    tallied(canned(status, {}), check)


def test_bad_files_are_all_gguf_or_nothing_like_it() -> None:
    """Each of them is small: the Hub sends 50 kB a second."""
    files = bad_files()

    assert len(files) > 4
    assert max(map(len, files.values())) < 2_000_000


def test_a_post_is_whole() -> None:
    """Its length is that of its body."""
    assert raw_post("/x", b"{}", "k").endswith(
        b"Content-Length: 2\r\nAuthorization: Bearer k\r\n\r\n{}"
    )
