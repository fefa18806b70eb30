"""Limits of a key: what a bucket lets through in any minute, what is owed, and what is told."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.auth.rate_limits import (
    MINUTE,
    KeyLimits,
    Quota,
    RateLimiter,
    RateLimiters,
    TokenBucket,
)
from rerankd.errors import RateLimited

STEPS = st.lists(st.tuples(st.floats(0, 200), st.integers(0, 500)), max_size=40)
"""Seconds that pass, and what is then taken."""


@given(st.integers(1, 1000), STEPS)
def test_a_bucket_is_never_fuller_than_a_minute_and_fills_evenly(
    a_minute: int, steps: list[tuple[float, int]]
) -> None:
    """The level is what was taken and what has come since, and at most a minute's worth."""
    now, expected = 0.0, float(a_minute)
    bucket = TokenBucket(a_minute, now)
    for seconds, amount in steps:
        now += seconds
        expected = min(a_minute, expected + seconds * a_minute / MINUTE)
        assert math.isclose(bucket.level(now), expected, abs_tol=1e-6)
        bucket.take(amount, now)
        expected -= amount


@given(st.integers(1, 1000), st.integers(0, 5000), st.floats(0, 1))
def test_the_wait_that_is_told_is_enough_and_not_too_long(
    a_minute: int, taken: int, share: float
) -> None:
    """After the wait the level is there; before most of it, it isn't."""
    bucket = TokenBucket(a_minute, 0.0)
    bucket.take(taken, 0.0)
    wanted = share * a_minute

    wait = bucket.seconds_until(wanted, 0.0)

    assert bucket.level(wait) >= wanted - 1e-6
    if wait > 1e-3:
        assert bucket.level(wait * 0.99) < wanted


@given(st.integers(1, 30), st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_no_minute_has_more_than_two_limits_of_requests(most: int, pauses: list[float]) -> None:
    """A full bucket and a minute's filling: no window of a minute holds more."""
    allowance = RateLimiter(KeyLimits(requests_per_minute=most), 0.0)
    now, passed = 0.0, []
    for pause in pauses:
        now += pause
        with suppress(RateLimited):
            allowance.admit(now)
            passed.append(now)
    for begin in passed:
        assert sum(begin <= moment < begin + MINUTE for moment in passed) <= 2 * most


def test_requests_are_refused_with_a_wait_that_helps() -> None:
    """The third of two a minute waits 30 s, in whole seconds, and a refusal costs nothing."""
    allowance = RateLimiter(KeyLimits(requests_per_minute=2), 0.0)
    allowance.admit(0.0)
    allowance.admit(0.0)
    for moment, wait in ((0.0, 30), (0.5, 30), (1.0, 29)):
        with pytest.raises(RateLimited, match="2 requests per minute") as refused:
            allowance.admit(moment)
        assert refused.value.retry_after == wait
    allowance.admit(30.0)


def test_tokens_may_be_owed_and_are_paid_before_the_next_request() -> None:
    """A request larger than the limit passes; the next one waits for the whole debt."""
    allowance = RateLimiter(KeyLimits(tokens_per_minute=600), 0.0)
    allowance.admit(0.0)
    allowance.charge(1200, 0.0)  # 600 owed: a minute's worth
    with pytest.raises(RateLimited, match="600 tokens per minute") as refused:
        allowance.admit(0.0)
    assert refused.value.retry_after == 61
    with pytest.raises(RateLimited):
        allowance.admit(60.0)
    allowance.admit(61.0)


def test_a_refusal_for_tokens_takes_no_request() -> None:
    """The two limits don't eat each other."""
    allowance = RateLimiter(KeyLimits(requests_per_minute=5, tokens_per_minute=10), 0.0)
    allowance.admit(0.0)
    allowance.charge(20, 0.0)
    with pytest.raises(RateLimited):
        allowance.admit(0.0)
    assert Quota("requests", 5, 4, 12) in allowance.quotas(0.0)


def test_requests_at_once_give_their_place_back_also_when_they_fail() -> None:
    """A place is free again however a request ends."""
    allowance = RateLimiter(KeyLimits(concurrent_requests=1), 0.0)
    with allowance.running(), pytest.raises(RateLimited) as refused, allowance.running():
        pytest.fail("a second one ran")
    assert refused.value.retry_after == 1
    with pytest.raises(ValueError, match="broken"), allowance.running():
        raise ValueError("broken")
    with allowance.running():
        pass


def test_what_ends_first_is_told_first() -> None:
    """By the share that is left, in whole units that are really there."""
    limits = KeyLimits(requests_per_minute=10, tokens_per_minute=100)
    allowance = RateLimiter(limits, 0.0)
    allowance.admit(0.0)
    assert allowance.quotas(0.0) == (
        Quota("requests", 10, 9, 6),
        Quota("tokens", 100, 100, 0),
    )
    allowance.charge(150, 0.0)
    assert allowance.quotas(0.0)[0] == Quota("tokens", 100, 0, 90)
    assert RateLimiter(KeyLimits(concurrent_requests=3), 0.0).quotas(0.0) == ()


def test_each_caller_has_its_own_and_nobody_has_one_without_limits() -> None:
    """A caller keeps its allowance; new limits begin anew."""
    rates = RateLimiters(clock=lambda: 7.0)
    limits = KeyLimits(requests_per_minute=1)
    first = rates.of("a", limits)

    assert first is not None
    assert rates.of("a", limits) is first
    assert rates.of("b", limits) is not first
    assert rates.of("a", KeyLimits(requests_per_minute=2)) is not first
    assert rates.of("a", KeyLimits()) is None
