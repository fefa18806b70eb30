"""Requests of one caller: its places, its models, and many at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from rerankd.auth.keys import Caller
from rerankd.auth.rate_limits import KeyLimits, RateLimiter
from rerankd.domain import RankedResult, RankRequest
from rerankd.errors import EngineFailure, ModelNotFound, RateLimited, TooManyDocuments
from rerankd.service import Service

from support.fakes import PATIENCE
from support.serving import FakeEngine, service_of

Outcome = TypeVar("Outcome")


def asking(*documents: str) -> RankRequest:
    return RankRequest(query="q", documents=documents)


def serve(
    engine: FakeEngine, test: Callable[[Service], Awaitable[Outcome]], **settings: Any
) -> Outcome:
    """Run a test on one event loop with a service that is closed at the end."""

    async def whole() -> Outcome:
        service = service_of(engine, start=False, **settings)
        await service.start()
        try:
            async with asyncio.timeout(PATIENCE):
                return await test(service)
        finally:
            await service.close()

    return asyncio.run(whole())


def test_several_requests_are_one_of_their_caller() -> None:
    """They take one of its places together, run one after the other, and are charged each."""
    limiter = RateLimiter(KeyLimits(concurrent_requests=1, tokens_per_minute=60), time.monotonic())
    engine = FakeEngine()

    async def work(service: Service) -> tuple[list[RankedResult], str]:
        results = await service.rank_many(
            [asking("one"), asking("one two"), asking("three")], limiter=limiter
        )
        with limiter.running(), pytest.raises(RateLimited) as refused:
            await service.rank_many([asking("one"), asking("two")], limiter=limiter)
        return results, refused.value.code

    results, code = serve(engine, work)

    assert [len(one.results) for one in results] == [1, 1, 1]
    assert code == RateLimited.code
    (left,) = limiter.quotas(time.monotonic())
    assert 60 - sum(one.prompt_tokens for one in results) <= left.remaining < 60


def test_requests_that_stand_for_themselves_fail_for_themselves() -> None:
    """Each has its result or its error, in the order of asking."""
    outcomes = serve(
        FakeEngine(),
        lambda service: service.rank_each([asking("one"), asking("poison"), asking("two")]),
    )

    assert [isinstance(one, RankedResult) for one in outcomes] == [True, False, True]
    assert isinstance(outcomes[1], EngineFailure)


def test_documents_of_several_requests_count_together() -> None:
    """The limit of a request's documents holds for all its queries."""
    with pytest.raises(TooManyDocuments):
        serve(
            FakeEngine(),
            lambda service: service.rank_many([asking("one", "two"), asking("three", "four")]),
            max_documents=3,
        )


def test_a_forbidden_model_is_refused_before_limits() -> None:
    """A key learns nothing of its limits, nor takes a place, by asking for another's model."""
    limiter = RateLimiter(KeyLimits(concurrent_requests=1), time.monotonic())
    caller = Caller(models=("another",))

    async def work(service: Service) -> None:
        with limiter.running():
            for ranking in (
                service.rank(asking("one"), caller=caller, limiter=limiter),
                service.rank_many([asking("one")] * 2, caller=caller, limiter=limiter),
            ):
                with pytest.raises(ModelNotFound):
                    await ranking

    serve(FakeEngine(), work)
