"""The budget of bytes that requests hold, and large answers in parts."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from backports import zstd

from rerankd.errors import Overloaded
from rerankd.http import byte_budget
from rerankd.http.byte_budget import (
    FREE_BYTES,
    HELD,
    SLICE,
    BoundedBodies,
    ByteBudget,
    charge_of,
)
from rerankd.http.content_encoding import STEP, Coding, decompressed_parts

from support.serving import client_of, service_of

App = Callable[[Any, Any, Any], Awaitable[None]]


def nothing(quiet: bool) -> None:
    """Give nothing back."""
    del quiet


async def call(app: App, parts: list[bytes], *, then: asyncio.Event | None = None) -> list[Any]:
    """Send a request with a body in parts; return the messages it was answered with."""
    sent: list[Any] = []
    waiting = [*parts]

    async def receive() -> Any:
        if not waiting and then:
            await then.wait()
            return {"type": "http.disconnect"}
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting or then)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http"}, receive, send)
    return sent


async def reading(scope: Any, receive: Any, send: Any) -> None:
    """Read the whole body and answer with it."""
    del scope
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def test_a_large_answer_is_sent_in_parts() -> None:
    """No part is larger than a slice, the last one ends the answer, and together they are it."""
    body = bytes(range(256)) * 1024
    app = BoundedBodies(reading, ByteBudget(10**9), nothing)

    start, *parts = asyncio.run(call(app, [body]))

    assert start["status"] == 200
    assert body == b"".join(part["body"] for part in parts)
    assert max(len(part["body"]) for part in parts) == SLICE
    assert [part["more_body"] for part in parts] == [True] * (len(parts) - 1) + [False]


@pytest.mark.parametrize("size", [0, 1, SLICE])
def test_a_small_answer_is_sent_whole(size: int) -> None:
    app = BoundedBodies(reading, ByteBudget(10**9), nothing)

    _, only = asyncio.run(call(app, [b"x" * size]))

    assert (len(only["body"]), only["more_body"]) == (size, False)


def test_bytes_are_charged_until_the_answer_has_gone() -> None:
    """They count while the application runs, several times over, and not afterwards."""
    budget = ByteBudget(10**9)
    seen: list[int] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        await reading(scope, receive, send)
        seen.append(budget.taken)

    asyncio.run(call(BoundedBodies(noting, budget, nothing), [b"x" * FREE_BYTES, b"y" * 1000]))

    assert seen == [HELD * 1000]
    assert budget.taken == 0


def test_small_bodies_pass_a_full_budget() -> None:
    """A request that costs next to nothing never waits."""
    budget = ByteBudget(0)

    sent = asyncio.run(call(BoundedBodies(reading, budget, nothing), [b"x" * FREE_BYTES]))

    assert sent[0]["status"] == 200


def test_a_body_beyond_the_budget_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no room for long is refused, and holds nothing afterwards."""
    monkeypatch.setattr(byte_budget, "PATIENCE", 0.01)
    budget = ByteBudget(HELD * 1000)
    app = BoundedBodies(reading, budget, nothing)

    async def case() -> None:
        leave = asyncio.Event()
        holding = asyncio.create_task(call(app, [b"x" * (FREE_BYTES + 1000)], then=leave))
        while budget.taken < HELD * 1000:
            await asyncio.wait({asyncio.ensure_future(asyncio.sleep(0))})
        with pytest.raises(Overloaded) as refused:
            await call(app, [b"x" * FREE_BYTES, b"y"])
        assert refused.value.retry_after
        leave.set()
        await holding
        assert (await call(app, [b"x" * FREE_BYTES, b"y"]))[0]["status"] == 200
        assert budget.taken == 0

    asyncio.run(case())


def test_bytes_go_to_whoever_waits_longest() -> None:
    """What is given back is taken in the order of asking; a small one does not pass."""
    budget = ByteBudget(10)
    order: list[str] = []

    async def take(name: str, count: int) -> None:
        await budget.take(count)
        order.append(name)

    async def case() -> None:
        await budget.take(8)
        waiting = [asyncio.create_task(take("large", 9)), asyncio.create_task(take("small", 1))]
        await asyncio.wait(waiting, timeout=0)
        assert order == []
        budget.give_back(8)
        await asyncio.gather(*waiting)
        assert order == ["large", "small"]
        assert budget.taken == 10

    asyncio.run(case())


def test_who_stops_waiting_takes_nothing() -> None:
    """A cancelled request leaves the queue, even in the instant in which its turn comes."""
    budget = ByteBudget(10)

    async def case() -> None:
        await budget.take(10)
        gone, granted = (asyncio.create_task(budget.take(5)) for _ in range(2))
        await asyncio.wait({gone, granted}, timeout=0)
        gone.cancel()
        await asyncio.wait({gone})
        budget.give_back(10)
        granted.cancel()
        await asyncio.wait({granted})
        assert budget.taken == 0
        await budget.take(10)

    asyncio.run(case())


def test_memory_is_given_back_after_large_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for a large one, never for a small one."""
    monkeypatch.setattr(byte_budget, "TRIM_ABOVE", HELD * 1000)
    monkeypatch.setattr(byte_budget, "TRIM_DELAY", 0.0)

    async def case(size: int) -> list[bool]:
        trimmed: list[bool] = []
        app = BoundedBodies(reading, ByteBudget(10**9), trimmed.append)
        await call(app, [b"x" * (FREE_BYTES + size)])
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.001, done.set_result, None)
        await done
        return trimmed

    assert (asyncio.run(case(1001)), asyncio.run(case(10))) == ([False], [])


def test_memory_is_given_back_once_it_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once after requests with small bodies; never for those without, such as health checks."""
    monkeypatch.setattr(byte_budget, "TRIM_QUIET", 0.0)

    async def case(*bodies: bytes) -> list[bool]:
        trimmed: list[bool] = []
        app = BoundedBodies(reading, ByteBudget(10**9), trimmed.append)
        for body in bodies:
            await call(app, [body])
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.001, done.set_result, None)
        await done
        return trimmed

    assert (asyncio.run(case(b"x", b"x")), asyncio.run(case(b""))) == ([True], [])


def test_freed_memory_is_given_back_after_the_last_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many requests count together, and those that end soon after a trim get one of their own."""
    monkeypatch.setattr(byte_budget, "TRIM_ABOVE", HELD * 1000)
    monkeypatch.setattr(byte_budget, "TRIM_DELAY", 0.0)
    monkeypatch.setattr(byte_budget, "TRIM_INTERVAL", 0.0)

    async def run() -> list[int]:
        done, trims = 0, []
        trimmed = asyncio.Event()

        def trim(quiet: bool) -> None:
            assert not quiet
            trims.append(done)
            trimmed.set()

        app = BoundedBodies(reading, ByteBudget(10**9), trim)
        for _ in range(2):
            trimmed.clear()
            for _ in range(3):
                await call(app, [b"x" * (FREE_BYTES + 400)])
                done += 1
            await trimmed.wait()
        return trims

    assert asyncio.run(run()) == [3, 6]


@pytest.mark.parametrize("coding", ["gzip", "zstd", "deflate"])
def test_what_a_body_becomes_is_charged(coding: Coding) -> None:
    """A small body that becomes a large one takes what the large one would."""
    size = 3 * STEP
    packed = {"gzip": gzip.compress, "zstd": zstd.compress, "deflate": zlib.compress}[coding](
        bytes(size)
    )
    budget = ByteBudget(10**9)
    taken = []

    async def expanding(scope: Any, receive: Any, send: Any) -> None:
        del send
        message = await receive()
        parts = decompressed_parts(message["body"], coding, size)
        charge = charge_of(scope)
        for number, part in enumerate(parts, 1):
            assert len(part) <= STEP
            await charge.hold(number * STEP)
            taken.append(budget.taken)

    asyncio.run(call(BoundedBodies(expanding, budget, nothing), [packed]))

    assert taken[-1] == HELD * (size - FREE_BYTES)
    assert taken == sorted(taken)
    assert budget.taken == 0


def test_the_least_budget_has_room_for_the_largest_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body may become as large as one may be, and is too large beyond, but never waits alone."""
    monkeypatch.setattr(byte_budget, "PATIENCE", 0.0)
    service = service_of(max_inflight_bytes=0)

    with client_of(service) as client:
        answers = [
            client.post(
                "/v1/rerank",
                content=gzip.compress(bytes(size)),
                headers={"Content-Encoding": "gzip"},
            )
            for size in (service.settings.max_body_bytes + 1, service.settings.max_body_bytes)
        ]

    assert [one.status_code for one in answers] == [413, 400]


def test_one_that_leaves_while_bytes_come_back_is_only_cancelled() -> None:
    """Its turn is over before it wakes up: nothing is missing from the queue then."""

    async def run() -> int:
        budget = ByteBudget(10)
        await budget.take(10)
        leaving = asyncio.create_task(budget.take(5))
        await asyncio.sleep(0)
        leaving.cancel()
        budget.give_back(10)
        with pytest.raises(asyncio.CancelledError):
            await leaving
        return budget.taken

    assert asyncio.run(run()) == 0


def test_those_behind_one_that_leaves_get_their_turn() -> None:
    """A small request does not wait until others end because a large one stood before it."""

    async def run() -> int:
        budget = ByteBudget(10)
        await budget.take(5)
        large, small = (asyncio.create_task(budget.take(count)) for count in (10, 5))
        await asyncio.sleep(0)
        large.cancel()
        await small
        return budget.taken

    assert asyncio.run(run()) == 10
