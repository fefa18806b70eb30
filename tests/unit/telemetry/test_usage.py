"""Use by model and key: counted in steps, bounded, told for an hour to a quarter."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.domain import StepFacts
from rerankd.telemetry.usage import (
    LONGEST,
    MOST_PAIRS,
    OTHER,
    WINDOWS,
    Usage,
    UsageReport,
    quantile,
)

from support.outcomes import outcome
from support.serving import client_of, rerank, service_of

NOON = 1_800_000_000.0
DAY = 24 * 3600


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def counts(report: UsageReport) -> list[tuple[str, str, int]]:
    """Return each series' model, key and requests in all."""
    return [
        (one.model, one.key, sum(bucket.requests for bucket in one.buckets))
        for one in report.series
    ]


def test_requests_are_counted_by_model_and_key() -> None:
    """Each pair has its series; totals are over all of them."""
    usage = Usage(Clock())
    usage.ranked(outcome("a", "k1", documents=2, cached=1))
    usage.ranked(outcome("a", "k2", documents=3))
    usage.ranked(outcome("b", "k1", documents=4, error="queue_full"))
    usage.stepped("a", StepFacts(requests=1, documents=1, tokens=1, budget=1, seconds=1))

    report = usage.report("hour")

    assert counts(report) == [("a", "k1", 1), ("a", "k2", 1), ("b", "k1", 1)]
    totals = report.totals
    assert (totals.requests, totals.documents, totals.tokens) == (3, 5, 50)
    assert (totals.errors, totals.cached) == (1, 1)
    failed = report.series[2].buckets[-1]
    assert (failed.requests, failed.documents, failed.errors, failed.p50_ms) == (1, 0, 1, None)


@pytest.mark.parametrize(
    ("name", "step", "steps"),
    [("hour", 60, 60), ("day", 900, 96), ("week", 3600, 168), ("quarter", DAY, 92)],
)
def test_every_step_of_the_window_has_a_bucket(name: str, step: int, steps: int) -> None:
    """Buckets lie end to end from begin to end, and now is in the last one."""
    clock = Clock(NOON + 17)
    usage = Usage(clock)
    usage.ranked(outcome())

    report = usage.report(name)  # type: ignore[arg-type]

    times = [bucket.time for bucket in report.series[0].buckets]
    assert times == list(range(report.begin, report.end, step))
    assert (len(times), report.step_seconds) == (steps, step)
    assert times[-1] <= clock.now < report.end
    assert [bucket.requests for bucket in report.series[0].buckets] == [0] * (steps - 1) + [1]


def test_nothing_used_is_an_empty_report() -> None:
    """Without requests there are no series and no latencies, but times."""
    report = Usage(Clock()).report("day")

    assert report.series == ()
    assert (report.totals.requests, report.totals.p95_ms) == (0, None)
    assert report.end - report.begin == DAY


def test_what_is_older_than_the_window_is_gone() -> None:
    """After an hour only the day has it, after a day the week, after a quarter nothing."""
    clock = Clock()
    usage = Usage(clock)
    usage.ranked(outcome())

    clock.now += 3700
    assert (usage.report("hour").totals.requests, usage.report("day").totals.requests) == (0, 1)
    clock.now += DAY
    assert usage.report("day").series == ()
    assert usage.report("week").totals.requests == 1
    clock.now += 92 * DAY
    assert usage.report("quarter").series == ()


def test_pairs_are_bounded_and_make_room_when_unused() -> None:
    """Beyond the bound all is counted as `other`, until pairs are a quarter unused."""
    clock = Clock()
    usage = Usage(clock, most_pairs=2)
    for key in "abcd":
        usage.ranked(outcome("m", key))
    assert counts(usage.report("day")) == [("m", "a", 1), ("m", "b", 1), (OTHER, OTHER, 2)]

    clock.now += 92 * DAY
    usage.ranked(outcome("m", "e"))
    assert counts(usage.report("day")) == [("m", "e", 1)]


jumps = st.lists(
    st.tuples(st.integers(-2 * DAY, 2 * DAY), st.sampled_from("abc"), st.booleans()), max_size=60
)


@given(jumps)
def test_counts_match_a_list_of_all_requests(jumps: list[tuple[int, str, bool]]) -> None:
    """While time goes forward, windows hold just the requests that are within them."""
    clock = Clock()
    usage = Usage(clock)
    done: list[tuple[float, bool]] = []
    for jump, key, failed in jumps:
        clock.now += abs(jump) / 20
        usage.ranked(outcome("m", key, error="x" if failed else ""))
        done.append((clock.now, failed))

    for name in WINDOWS:
        report = usage.report(name)
        within = [failed for at, failed in done if report.begin <= at < report.end]
        assert (report.totals.requests, report.totals.errors) == (len(within), sum(within))
        buckets = [bucket for one in report.series for bucket in one.buckets]
        assert sum(bucket.requests for bucket in buckets) == len(within)


@given(jumps)
def test_memory_is_bounded_though_the_clock_jumps(jumps: list[tuple[int, str, bool]]) -> None:
    """A clock that is set back neither fails nor leaves more than two windows of steps."""
    clock = Clock()
    usage = Usage(clock)
    for jump, key, _ in jumps:
        clock.now += jump
        usage.ranked(outcome("m", key))
        assert usage.report("day").totals.requests >= 1

    for rings in usage._pairs.values():
        for name, ring in rings.items():
            assert len(ring._counts) <= 2 * WINDOWS[name].steps


@given(st.lists(st.floats(0.000_01, 3000), min_size=1, max_size=200))
def test_percentiles_are_close_to_exact_ones(seconds: Sequence[float]) -> None:
    """A latency is told to within 5 %."""
    usage = Usage(Clock())
    for one in seconds:
        usage.ranked(outcome(seconds=one))

    totals = usage.report("hour").totals

    ordered = sorted(seconds)
    for told, share in ((totals.p50_ms, 50), (totals.p95_ms, 95)):
        exact = ordered[-(-len(ordered) * share // 100) - 1] * 1000
        assert told == pytest.approx(exact, rel=0.05)


def test_latencies_out_of_range_are_counted_at_the_ends() -> None:
    """No time at all and a time without end have a bucket as well."""
    usage = Usage(Clock())
    for seconds in (0.0, -1.0, 1e30):
        usage.ranked(outcome(seconds=seconds))

    (ring,) = [rings["hour"] for rings in usage._pairs.values()]
    (one,) = ring._counts.values()
    assert sum(one.latencies.values()) == 3
    assert max(one.latencies) == LONGEST
    assert quantile({}, 0.5) is None


def test_many_threads_lose_no_request() -> None:
    """Counting from many threads adds up."""
    usage = Usage(Clock())
    keys = [random.choice("ab") for _ in range(4000)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: usage.ranked(outcome("m", key)), keys))

    assert usage.report("hour").totals.requests == 4000


def test_usage_route_tells_what_went_through() -> None:
    """GET /v1/usage has requests, errors and cached documents of what was asked."""
    with client_of(service_of(api_keys=("k",))) as client:
        client.headers["X-API-Key"] = "k"
        for documents in (["one", "one two"], ["one"], ["poison"]):
            rerank(client, query="q", documents=documents)
        report = client.get("/v1/usage").json()

    assert [report[name] for name in ("object", "window", "step_seconds")] == ["usage", "hour", 60]
    totals = report["totals"]
    assert (totals["requests"], totals["documents"], totals["errors"]) == (3, 3, 1)
    assert totals["cached"] == 1
    assert totals["p50_ms"] > 0
    (series,) = report["series"]
    assert series["model"] == "rerank-mini-en"
    assert series["buckets"][-1].keys() == {
        *("time", "requests", "documents", "tokens", "errors", "cached", "p50_ms", "p95_ms")
    }


def test_usage_route_refuses_other_windows() -> None:
    """The parameter is named, and management is not for other sites' pages."""
    with client_of(service_of(api_keys=("k",))) as client:
        client.headers["X-API-Key"] = "k"
        refused = client.get("/v1/usage?window=year")
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "window")
        foreign = client.get("/v1/usage", headers={"Origin": "http://elsewhere.example"})
        assert foreign.status_code == 403
        assert client.get("/v1/usage?window=day").json()["step_seconds"] == 900


def test_the_bound_on_pairs_keeps_memory_small() -> None:
    """All pairs busy in all steps stay within some megabytes; see docs/observability.md."""
    assert MOST_PAIRS * sum(window.steps for window in WINDOWS.values()) < 60_000
