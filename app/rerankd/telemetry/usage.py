"""What each model and API key used in the last hour, day, week and quarter, in memory.

A `domain.Observer` that adds every request to one ring of steps per window: minutes for the hour,
quarters of an hour for the day, hours for the week, days (UTC) for the quarter. Latencies are
counted in buckets 9 % wide, so that memory is bounded and a percentile is off by less than 5 %.
`telemetry.usage_keeping` stores what is counted here.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any, Literal, cast, get_args

from msgspec import Struct

from rerankd.domain import Outcome, StepFacts
from rerankd.store import UsageAmounts, UsagePlace

WindowName = Literal["hour", "day", "week", "quarter"]

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


WINDOWS: dict[WindowName, Window] = {
    "hour": Window(60, 60),
    "day": Window(900, 96),
    "week": Window(3600, 168),
    "quarter": Window(86_400, 92),
}
LONGEST_WINDOW: WindowName = "quarter"


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
        self._unsaved: Unsaved = {}
        self._saving = False
        self._lock = threading.Lock()

    def ranked(self, outcome: Outcome) -> None:
        """Count a request that ended."""
        now = self._clock()
        with self._lock:
            pair = self._pair(outcome.model, outcome.caller, now)
            for name, ring in self._pairs[pair].items():
                step = int(now // WINDOWS[name].step)
                _count_outcome(ring.at(step), outcome)
                if self._saving:
                    place = UsagePlace(name, step, *pair)
                    _count_outcome(self._unsaved.setdefault(place, UsageAmounts()), outcome)

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
            totals=Amounts(
                **_figures_of(_sum(one for counts in used.values() for one in counts.values()))
            ),
            series=tuple(
                UsageSeries(
                    model=model,
                    key=key,
                    buckets=tuple(
                        UsageBucket(
                            time=at * window.step, **_figures_of(counts.get(at, UsageAmounts()))
                        )
                        for at in range(begin, last + 1)
                    ),
                )
                for (model, key), counts in used.items()
            ),
        )

    def begin_saving(self) -> None:
        """From now on, let what is counted wait to be saved."""
        with self._lock:
            self._saving = True

    def include(self, stored: Iterable[tuple[UsagePlace, UsageAmounts]]) -> None:
        """Add what an earlier process counted."""
        now = self._clock()
        with self._lock:
            for place, amounts in stored:
                window = WINDOWS.get(cast("WindowName", place.window))
                if window is None or not 0 <= now // window.step - place.step < window.steps:
                    continue
                pair = self._pair(place.model, place.key, now)
                self._pairs[pair][cast("WindowName", place.window)].at(place.step).include(amounts)

    def take_unsaved(self) -> Unsaved:
        """Return what was counted since the last time."""
        with self._lock:
            taken, self._unsaved = self._unsaved, {}
        return taken

    def give_back_unsaved(self, counted: Unsaved) -> None:
        """Keep what could not be saved for the next time, without what has expired meanwhile."""
        expired = self.expired()
        with self._lock:
            for place, amounts in counted.items():
                if place.step >= expired[place.window]:
                    self._unsaved.setdefault(place, UsageAmounts()).include(amounts)

    def expired(self) -> dict[str, int]:
        """Return each window's first step that still counts."""
        now = self._clock()
        return {
            name: int(now // window.step) - window.steps + 1 for name, window in WINDOWS.items()
        }

    def _spans(self, name: WindowName, first: int, last: int) -> Iterator[tuple[_Pair, _Span]]:
        """Yield each pair's counts, the lock held for one pair at a time."""
        with self._lock:
            pairs = sorted(self._pairs.items(), key=itemgetter(0))
        for pair, rings in pairs:
            with self._lock:
                counts = rings[name].span(first, last)
            yield pair, counts

    def _pair(self, model: str, key: str, now: float) -> _Pair:
        """Return the pair that counts for a model and key, with its rings in place."""
        if (model, key) not in self._pairs:
            if len(self._pairs) >= self._most_pairs:
                self._forget_unused(now)
            if len(self._pairs) >= self._most_pairs:
                model = key = OTHER
            rings = {name: _Ring(WINDOWS[name].steps) for name in get_args(WindowName)}
            self._pairs.setdefault((model, key), rings)
        return model, key

    def _forget_unused(self, now: float) -> None:
        window = WINDOWS[LONGEST_WINDOW]
        last = int(now // window.step)
        self._pairs = {
            pair: rings
            for pair, rings in self._pairs.items()
            if rings[LONGEST_WINDOW].span(last - window.steps + 1, last)
        }


def _count_outcome(amounts: UsageAmounts, outcome: Outcome) -> None:
    amounts.requests += 1
    if outcome.result is None:
        amounts.errors += 1
        return
    amounts.documents += outcome.documents
    amounts.tokens += outcome.result.prompt_tokens
    amounts.cached += outcome.result.cached
    place = _bucket_of(outcome.seconds * 1000)
    amounts.latencies[place] = amounts.latencies.get(place, 0) + 1


def _figures_of(amounts: UsageAmounts) -> dict[str, Any]:
    return {
        "requests": amounts.requests,
        "documents": amounts.documents,
        "tokens": amounts.tokens,
        "errors": amounts.errors,
        "cached": amounts.cached,
        "p50_ms": quantile(amounts.latencies, 0.50),
        "p95_ms": quantile(amounts.latencies, 0.95),
    }


class _Ring:
    """Counts of the last steps; older ones are dropped as newer ones come."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._counts: dict[int, UsageAmounts] = {}

    def at(self, step: int) -> UsageAmounts:
        found = self._counts.get(step)
        if found is None:
            # In both directions, since a clock may be set back.
            self._counts = {
                at: counts for at, counts in self._counts.items() if abs(step - at) < self._steps
            }
            found = self._counts[step] = UsageAmounts()
        return found

    def span(self, first: int, last: int) -> dict[int, UsageAmounts]:
        """Return copies of the counts from `first` to `last`."""
        return {at: _sum([counts]) for at, counts in self._counts.items() if first <= at <= last}


_Pair = tuple[str, str]
"""A model and a key's id."""

Unsaved = dict[UsagePlace, UsageAmounts]
"""What was counted and not stored yet."""

_Span = dict[int, UsageAmounts]
"""Counts by step."""


def _sum(parts: Iterable[UsageAmounts]) -> UsageAmounts:
    total = UsageAmounts()
    for one in parts:
        total.include(one)
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
