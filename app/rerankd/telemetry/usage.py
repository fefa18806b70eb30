"""What each model and API key used in the last hour and day, in memory.

A `domain.Observer` that adds every request to two rings of steps: minutes for the hour, quarters
of an hour for the day. Latencies are counted in buckets 9 % wide, so that memory is bounded and a
percentile is off by less than 5 %.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any, Literal, get_args

from msgspec import Struct, field

from rerankd.domain import Outcome, StepFacts

WindowName = Literal["hour", "day"]

MOST_PAIRS = 128
OTHER = "other"
"""Stands for everything beyond a bound, such as MOST_PAIRS of model and key."""

DOUBLING = 8
"""Buckets in which a latency doubles."""
SHORTEST, LONGEST = -64, 192
"""Buckets of 1/256 ms and 2^24 ms, which also count what lies beyond them."""


class Window(Struct, frozen=True):
    """A span of time up to now, in steps of whole seconds."""

    step: int
    steps: int


WINDOWS: dict[WindowName, Window] = {"hour": Window(60, 60), "day": Window(900, 96)}


class Amounts(Struct, frozen=True, kw_only=True):
    """Usage over a time. Latencies are those of successful requests."""

    requests: int
    documents: int
    tokens: int
    errors: int
    cached: int
    p50_ms: float | None
    p95_ms: float | None


class UsageBucket(Amounts, frozen=True, kw_only=True):
    """Usage in the step that begins at `time`, a Unix time in seconds."""

    time: int


class UsageSeries(Struct, frozen=True, kw_only=True):
    """A model's usage by one API key: a bucket for every step, oldest first.

    `key` is the key's id, empty for requests without one; `model` is empty where the request
    named an unknown one.
    """

    model: str
    key: str
    buckets: tuple[UsageBucket, ...]


class UsageReport(Struct, frozen=True, kw_only=True):
    """Usage from `begin` up to `end`, Unix times in seconds."""

    object: Literal["usage"] = "usage"
    window: WindowName
    step_seconds: int
    begin: int
    end: int
    totals: Amounts
    series: tuple[UsageSeries, ...]


class Usage:
    """Counts requests by model and API key; a `domain.Observer`. Safe from any thread."""

    def __init__(
        self, clock: Callable[[], float] = time.time, *, most_pairs: int = MOST_PAIRS
    ) -> None:
        """`clock` returns Unix time in seconds."""
        self._clock = clock
        self._most_pairs = most_pairs
        self._pairs: dict[_Pair, dict[WindowName, _Ring]] = {}
        self._lock = threading.Lock()

    def ranked(self, outcome: Outcome) -> None:
        """Count a request that ended."""
        now = self._clock()
        with self._lock:
            for name, ring in self._rings(outcome.model, outcome.caller, now).items():
                ring.at(int(now // WINDOWS[name].step)).add(outcome)

    def stepped(self, model: str, step: StepFacts) -> None:
        """Do nothing: steps serve several keys."""

    def report(self, name: WindowName) -> UsageReport:
        """Return the usage in a window that ends with the current step."""
        window = WINDOWS[name]
        last = int(self._clock() // window.step)
        begin = last - window.steps + 1
        used = {pair: counts for pair, counts in self._spans(name, begin, last) if counts}
        return UsageReport(
            window=name,
            step_seconds=window.step,
            begin=begin * window.step,
            end=(last + 1) * window.step,
            totals=_sum(one for counts in used.values() for one in counts.values()).amounts,
            series=tuple(
                UsageSeries(
                    model=model,
                    key=key,
                    buckets=tuple(
                        counts.get(at, _Counts()).bucket(at * window.step)
                        for at in range(begin, last + 1)
                    ),
                )
                for (model, key), counts in used.items()
            ),
        )

    def _spans(self, name: WindowName, first: int, last: int) -> Iterator[tuple[_Pair, _Span]]:
        """Yield each pair's counts, the lock held for one pair at a time."""
        with self._lock:
            pairs = sorted(self._pairs.items(), key=itemgetter(0))
        for pair, rings in pairs:
            with self._lock:
                counts = rings[name].span(first, last)
            yield pair, counts

    def _rings(self, model: str, key: str, now: float) -> dict[WindowName, _Ring]:
        found = self._pairs.get((model, key))
        if found is None:
            if len(self._pairs) >= self._most_pairs:
                self._forget_unused(now)
            if len(self._pairs) >= self._most_pairs:
                model = key = OTHER
            rings = {name: _Ring(WINDOWS[name].steps) for name in get_args(WindowName)}
            found = self._pairs.setdefault((model, key), rings)
        return found

    def _forget_unused(self, now: float) -> None:
        day = WINDOWS["day"]
        last = int(now // day.step)
        self._pairs = {
            pair: rings
            for pair, rings in self._pairs.items()
            if rings["day"].span(last - day.steps + 1, last)
        }


class _Counts(Struct):
    """Usage in one step; `latencies` counts requests by bucket."""

    requests: int = 0
    documents: int = 0
    tokens: int = 0
    errors: int = 0
    cached: int = 0
    latencies: dict[int, int] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        self.requests += 1
        if outcome.result is None:
            self.errors += 1
            return
        self.documents += outcome.documents
        self.tokens += outcome.result.prompt_tokens
        self.cached += outcome.result.cached
        place = _bucket_of(outcome.seconds * 1000)
        self.latencies[place] = self.latencies.get(place, 0) + 1

    @property
    def amounts(self) -> Amounts:
        return Amounts(**self._named())

    def bucket(self, begin: int) -> UsageBucket:
        return UsageBucket(time=begin, **self._named())

    def _named(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "documents": self.documents,
            "tokens": self.tokens,
            "errors": self.errors,
            "cached": self.cached,
            "p50_ms": quantile(self.latencies, 0.50),
            "p95_ms": quantile(self.latencies, 0.95),
        }


class _Ring:
    """Counts of the last steps; older ones are dropped as newer ones come."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._counts: dict[int, _Counts] = {}

    def at(self, step: int) -> _Counts:
        found = self._counts.get(step)
        if found is None:
            # In both directions, since a clock may be set back.
            self._counts = {
                at: counts for at, counts in self._counts.items() if abs(step - at) < self._steps
            }
            found = self._counts[step] = _Counts()
        return found

    def span(self, first: int, last: int) -> dict[int, _Counts]:
        """Return copies of the counts from `first` to `last`."""
        return {at: _sum([counts]) for at, counts in self._counts.items() if first <= at <= last}


_Pair = tuple[str, str]
"""A model and a key's id."""

_Span = dict[int, _Counts]
"""Counts by step."""


def _sum(parts: Iterable[_Counts]) -> _Counts:
    total = _Counts()
    for one in parts:
        total.requests += one.requests
        total.documents += one.documents
        total.tokens += one.tokens
        total.errors += one.errors
        total.cached += one.cached
        for place, count in one.latencies.items():
            total.latencies[place] = total.latencies.get(place, 0) + count
    return total


def _bucket_of(milliseconds: float) -> int:
    if milliseconds <= 0:
        return SHORTEST
    return max(SHORTEST, min(LONGEST, math.floor(math.log2(milliseconds) * DOUBLING)))


def quantile(latencies: dict[int, int], share: float) -> float | None:
    """Return the latency in ms that `share` of requests did not exceed, None without requests."""
    left = math.ceil(sum(latencies.values()) * share)
    for place in sorted(latencies):
        left -= latencies[place]
        if left <= 0:
            return round(math.exp2((place + 0.5) / DOUBLING), 3)
    return None
