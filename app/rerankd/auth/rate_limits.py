"""Rate limits of a caller: token buckets and a count of running requests; pure, given the time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from rerankd.errors import RateLimited

MINUTE = 60.0


class KeyLimits(Struct, frozen=True, kw_only=True):
    """What a key may use; 0 is no limit."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrent_requests: int = 0


class Quota(Struct, frozen=True):
    """What is left of one limit: `reset` is the seconds until all of it is there again."""

    unit: str
    limit: int
    remaining: int
    reset: int


class TokenBucket:
    """Holds a minute's worth, starts full and fills evenly; taking more leaves a debt.

    The clock is the caller's, in seconds, and never goes back.
    """

    def __init__(self, a_minute: int, now: float) -> None:
        self.a_minute = a_minute
        self._level = float(a_minute)
        self._at = now

    def level(self, now: float) -> float:
        """Return what it holds, below zero for a debt."""
        filled = (now - self._at) * self.a_minute / MINUTE
        return min(float(self.a_minute), self._level + filled)

    def take(self, amount: float, now: float) -> None:
        """Take an amount, whether or not it is there."""
        self._level = self.level(now) - amount
        self._at = now

    def seconds_until(self, level: float, now: float) -> float:
        """Return how long it takes to hold `level`, zero when it does."""
        return max(0.0, level - self.level(now)) * MINUTE / self.a_minute


class RateLimiter:
    """One caller's limits and what is left of them.

    A request is counted before it runs and its tokens after: nobody knows them earlier. So tokens
    may be owed; then the caller waits until the debt is paid, however large one request was.
    """

    def __init__(self, limits: KeyLimits, now: float) -> None:
        self.limits = limits
        self._requests = _token_bucket(limits.requests_per_minute, now)
        self._tokens = _token_bucket(limits.tokens_per_minute, now)
        self._running = 0

    def admit(self, now: float) -> None:
        """Count one request. Raises RateLimited, which counts nothing."""
        if self._tokens and self._tokens.level(now) <= 0:
            wait = self._tokens.seconds_until(1, now)
            raise _rate_limited(f"{self._tokens.a_minute} tokens per minute are used up", wait)
        if self._requests:
            wait = self._requests.seconds_until(1, now)
            if wait:
                raise _rate_limited(
                    f"{self._requests.a_minute} requests per minute are used up", wait
                )
            self._requests.take(1, now)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold one of the places for requests at once. Raises RateLimited when none is free."""
        most = self.limits.concurrent_requests
        if most and self._running >= most:
            raise _rate_limited(f"{most} concurrent requests are running", 1)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def charge(self, tokens: int, now: float) -> None:
        """Take the tokens that a request turned out to use."""
        if self._tokens:
            self._tokens.take(tokens, now)

    def quotas(self, now: float) -> tuple[Quota, ...]:
        """Return what is left of each limit per minute, the one nearest to its end first."""
        named = (("requests", self._requests), ("tokens", self._tokens))
        found = [_quota_of(unit, bucket, now) for unit, bucket in named if bucket]
        return tuple(sorted(found, key=lambda one: one.remaining / one.limit))


class RateLimiters:
    """The rate limiters of all callers of this process; a restart resets them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._all: dict[str, RateLimiter] = {}

    def of(self, caller: str, limits: KeyLimits) -> RateLimiter | None:
        """Return a caller's rate limiter, None where nothing limits it."""
        if limits == NO_LIMITS:
            return None
        found = self._all.get(caller)
        if found is None or found.limits != limits:
            found = self._all[caller] = RateLimiter(limits, self.clock())
        return found


NO_LIMITS = KeyLimits()


def _token_bucket(a_minute: int, now: float) -> TokenBucket | None:
    return TokenBucket(a_minute, now) if a_minute else None


def _quota_of(unit: str, bucket: TokenBucket, now: float) -> Quota:
    return Quota(
        unit=unit,
        limit=bucket.a_minute,
        remaining=max(0, math.floor(bucket.level(now))),
        reset=math.ceil(bucket.seconds_until(bucket.a_minute, now)),
    )


def _rate_limited(why: str, wait: float) -> RateLimited:
    return RateLimited(f"this API key's {why}", retry_after=max(1, math.ceil(wait)))
