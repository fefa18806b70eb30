"""The best answer by a deadline: what is scored by then, and what keeps it true."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import pytest

from rerankd.auth.keys import Caller
from rerankd.domain import OnTimeout, Outcome, RankedDocument, RankedResult, RankRequest, StepFacts
from rerankd.errors import DeadlineExceeded
from rerankd.ranking import ranker
from rerankd.service import Service

from support.deadlines import time_for
from support.fakes import LIMITS, PATIENCE, Gate
from support.serving import FakeEngine, service_of

T = TypeVar("T")

MINUTE = 60_000
ONE_BY_ONE = msgspec.structs.replace(LIMITS, step_rows=1)
HUNDRED = tuple(" ".join(["word"] * (1 + number * 37 % 11)) for number in range(100))


def asking(*documents: str, **rest: Any) -> RankRequest:
    own = {"query": "q", "on_timeout": "partial", "timeout_ms": MINUTE} | rest
    return RankRequest(documents=documents, **own)


def serve(engine: FakeEngine, test: Callable[[Service], Awaitable[T]], **settings: Any) -> T:
    async def whole() -> T:
        service = service_of(engine, start=False, **settings)
        await service.start()
        try:
            async with asyncio.timeout(3 * PATIENCE):
                return await test(service)
        finally:
            for backend in engine.backends:
                if backend._gate:
                    backend._gate.open()
            await service.close()

    return asyncio.run(whole())


def ranked_by(rows: int, request: RankRequest, **settings: Any) -> RankedResult:
    """Return the result where there is time for so many rows."""
    engine = FakeEngine(limits=ONE_BY_ONE)
    with time_for(rows):
        return serve(engine, lambda service: service.rank(request), **settings)


@pytest.mark.parametrize("rows", [1, 37, 99])
def test_what_is_scored_is_ranked_and_the_rest_follows_in_order(rows: int) -> None:
    """Of 100 documents the first ones are scored, each with the score of a whole ranking."""
    documents = tuple(f"{text} w{number}" for number, text in enumerate(HUNDRED))
    whole = serve(FakeEngine(), lambda service: service.rank(asking(*documents)))
    partial = ranked_by(rows, asking(*documents))

    assert partial.unscored == tuple(range(rows, 100))
    assert partial.results == tuple(one for one in whole.results if one.index < rows)
    assert partial.chunks == rows
    assert whole.unscored == ()


def test_identical_documents_share_a_score() -> None:
    """A document that was given before costs nothing, wherever it comes again."""
    partial = ranked_by(2, asking("one", "one two", "one two three", "one"))

    assert [one.index for one in partial.results] == [1, 0, 3]
    assert partial.unscored == (2,)


def test_a_partial_answer_is_kept_for_the_next_request() -> None:
    """The next one goes on where the first stopped."""
    engine = FakeEngine(limits=ONE_BY_ONE)
    request = asking("one", "one two", "one two three")

    async def test(service: Service) -> tuple[RankedResult, ...]:
        with time_for(1):
            first = await service.rank(request)
            second = await service.rank(request)
        return first, second, await service.rank(request)

    first, second, third = serve(engine, test)
    assert [len(one.unscored) for one in (first, second, third)] == [2, 1, 0]
    assert [one.cached for one in (first, second, third)] == [0, 1, 2]


@pytest.mark.parametrize("rest", [{"hybrid": 2.0}, {"raw_scores": True}, {"return_passages": True}])
def test_scores_are_those_of_a_whole_ranking(rest: dict[str, Any]) -> None:
    """BM25 counts all documents of the request, scored or not."""
    documents = ("q one two", "one", "one q", "q q three")
    whole = serve(FakeEngine(), lambda service: service.rank(asking(*documents, **rest)))
    partial = ranked_by(3, asking(*documents, **rest))

    assert partial.results == tuple(one for one in whole.results if one.index < 3)


def test_the_deadline_itself_ends_a_request_whose_step_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The engine never answers; what was known before does."""
    monkeypatch.setattr(ranker, "LOOKUP_SECONDS", PATIENCE)
    gate = Gate()
    known = ("one", "one two", "one two three")

    async def test(service: Service) -> RankedResult:
        gate.let()
        await service.rank(RankRequest(query="q", documents=known))
        return await service.rank(asking(*HUNDRED, *known, timeout_ms=200))

    limits = msgspec.structs.replace(LIMITS, step_tokens=64, step_rows=8)
    result = serve(FakeEngine(gate=gate, limits=limits), test)
    assert [one.index for one in result.results] == [102, 101, 100]
    assert len(result.unscored) == 100


def test_early_scores_are_those_of_the_partial_answer() -> None:
    """What a stream has sent by the deadline is what the answer ranks."""
    early: list[RankedDocument] = []
    request = asking("one", "one two", "one two three")
    engine = FakeEngine(limits=ONE_BY_ONE)
    with time_for(2):
        result = serve(engine, lambda service: service.rank(request, on_scored=early.extend))

    assert sorted(one.index for one in early) == [0, 1]
    assert set(early) == set(result.results)


def test_nothing_scored_is_no_answer() -> None:
    """An order that nobody computed is not passed off as a ranking."""
    with pytest.raises(DeadlineExceeded, match="0 of 2 documents"):
        ranked_by(0, asking("one", "one two"))


@pytest.mark.parametrize(
    ("request_s", "key_s", "server_s", "is_partial"),
    [
        (None, None, "error", False),
        (None, None, "partial", True),
        (None, "error", "partial", False),
        (None, "partial", "error", True),
        ("error", "partial", "partial", False),
        ("partial", "error", "error", True),
    ],
)
def test_the_request_goes_before_the_key_and_the_key_before_the_server(
    request_s: OnTimeout | None, key_s: OnTimeout | None, server_s: OnTimeout, *, is_partial: bool
) -> None:
    """Whoever says something nearest to the request decides."""
    request = asking("one", "one two", on_timeout=request_s)
    caller = Caller(id="k", keyed=True, on_timeout=key_s)

    async def test(service: Service) -> int:
        try:
            return len((await service.rank(request, caller=caller)).unscored)
        except DeadlineExceeded:
            return -1

    with time_for(1):
        found = serve(FakeEngine(limits=ONE_BY_ONE), test, on_timeout=server_s)
    # A request that wants all scores runs its longest rows first, here as many.
    assert found == (1 if is_partial else -1)


class Counting:
    """An observer that keeps outcomes."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def ranked(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def stepped(self, model: str, step: StepFacts) -> None:
        """Steps don't matter here."""


def test_many_requests_each_have_their_own_part() -> None:
    """Requests that run together end each at the deadline with what it has."""
    requests = [asking("one", "one two", query=f"q{number}") for number in range(3)]
    engine = FakeEngine(limits=ONE_BY_ONE)
    watcher = Counting()

    async def test(service: Service) -> list[RankedResult]:
        service.observer = watcher
        return await service.rank_many(requests)

    with time_for(1):
        results = serve(engine, test)
    assert [result.unscored for result in results] == [(1,)] * 3
    assert [one.error for one in watcher.outcomes] == [""] * 3


# min_score


def test_min_score_drops_documents_and_counts_them() -> None:
    """Those below it are gone before `top_n` counts, whole rankings and streams alike."""
    early: list[RankedDocument] = []
    request = asking(*HUNDRED[:11], min_score=-1.0, raw_scores=True, top_n=2)

    async def test(service: Service) -> tuple[RankedResult, RankedResult]:
        everything = msgspec.structs.replace(request, min_score=None, top_n=None)
        return await service.rank(everything), await service.rank(request, on_scored=early.extend)

    everything, kept = serve(FakeEngine(), test)
    above = [one for one in everything.results if one.score >= -1.0]
    assert 2 < len(above) < 11
    assert kept.results == tuple(above[:2])
    assert kept.below_min_score == 11 - len(above)
    assert {one.index for one in early} == {one.index for one in above}
