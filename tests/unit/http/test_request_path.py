"""The way of one rerank request through the code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import rerankd
from rerankd.domain import TokenIds

from house_tables import HOPS
from support.serving import FakeEngine, client_of, rerank, service_of

PACKAGE = Path(rerankd.__file__).parent
MOST_HOPS = 12
ROUTE = "http/routes.py:rerank"
ROOMS = ["http", "service", "ranking", "scheduling"]
"""Rooms in the order in which the request enters them; the engine comes last, a fake one here."""


def place_of(code: CodeType) -> str | None:
    """Return the file and name of a function of ours, None for anybody else's."""
    path = Path(code.co_filename)
    if not path.is_relative_to(PACKAGE):
        return None
    return f"{path.relative_to(PACKAGE).as_posix()}:{code.co_name}"


def awaited(coroutine: Any) -> Iterator[CodeType]:
    """Yield the functions that a coroutine is in, the outermost first."""
    while coroutine is not None and hasattr(coroutine, "cr_code"):
        yield coroutine.cr_code
        coroutine = coroutine.cr_await


def called(frame: FrameType | None) -> Iterator[CodeType]:
    """Yield the functions that a thread is in, the outermost first."""
    found = []
    while frame is not None:
        found.append(frame.f_code)
        frame = frame.f_back
    yield from reversed(found)


def test_a_request_goes_straight_to_the_engine() -> None:
    """At the engine's step, its functions are few and no room was entered twice.

    A hop is a function of ours that the request is in at that moment: on the event loop those
    that await it, from the route on, then those of the thread that runs the step.
    """
    hops: list[str] = []

    def noting(row: TokenIds) -> float:
        del row
        if not hops:
            loop_side = [
                [place for code in awaited(task.get_coro()) if (place := place_of(code))]
                for task in asyncio.all_tasks(loop[0])
            ]
            (outer,) = (one for one in loop_side if ROUTE in one)
            inner = [one for one in loop_side if one and one[0].startswith("service/")]
            hops.extend(outer[outer.index(ROUTE) :])
            hops.extend(place for one in inner for place in one)
            hops.extend(filter(None, map(place_of, called(sys._getframe()))))
        return 1.0

    loop: list[asyncio.AbstractEventLoop] = []
    service = service_of(FakeEngine(score=noting))
    original = service.rank_many

    async def keeping_the_loop(*given: Any, **options: Any) -> Any:
        loop.append(asyncio.get_running_loop())
        return await original(*given, **options)

    service.rank_many = keeping_the_loop  # type: ignore[method-assign]
    with client_of(service) as client:
        assert rerank(client, query="q", documents=["one"]).status_code == 200

    rooms = [room for room, _ in groupby(hop.split("/")[0].split(":")[0] for hop in hops)]
    assert hops == list(HOPS[1][:-1])  # the last one is the backend, a fake one here
    assert rooms == ROOMS, hops
    assert len(hops) + 1 <= MOST_HOPS, hops  # and the backend's own
