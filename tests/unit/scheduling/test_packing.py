"""Properties of the plan of a step, over random jobs and limits."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from rerankd.domain import StepLimits
from rerankd.scheduling.packing import Picked, plan

unhurried = settings(deadline=None)  # a busy machine is not a wrong plan


class Job(Struct):
    """A waiting job as `packing.Waiting` has it."""

    prefix_tokens: int
    pending: list[tuple[int, int]]
    in_order: bool = False


class Case(Struct):
    """Jobs that fit the limits one pair at a time, as admission sees to it."""

    jobs: list[Job]
    limits: StepLimits


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw limits, then jobs whose pairs keep `pair_tokens`."""
    pair = draw(st.integers(2, 40))
    limits = StepLimits(
        pair_tokens=pair,
        step_tokens=draw(st.integers(1, 60)),
        step_rows=draw(st.integers(1, 8)),
        step_prefixes=draw(st.integers(1, 4)),
        cells=draw(st.integers(pair, 3 * pair)),
    )
    return Case(draw(st.lists(jobs(pair), max_size=6)), limits)


@st.composite
def jobs(draw: st.DrawFn, pair: int) -> Job:
    """Draw a job, maybe with nothing left to run."""
    prefix = draw(st.integers(0, pair - 1))
    lengths = draw(st.lists(st.integers(1, pair - prefix), max_size=12))
    return Job(prefix, sorted((length, row) for row, length in enumerate(lengths)))


def expected_plan(case: Case, budget: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """Return the plan written plainly: each job in turn, each row that still fits."""
    left_rows, left_cells, left_tokens = case.limits.step_rows, case.limits.cells, budget
    chosen: list[tuple[int, list[tuple[int, int]]]] = []
    for number, job in enumerate(case.jobs):
        rows: list[tuple[int, int]] = []
        cells = left_cells - job.prefix_tokens
        for tokens, row in sorted(job.pending, reverse=True):
            first = not chosen and not rows
            if left_rows and (first or tokens <= min(left_tokens, cells)):
                rows.append((tokens, row))
                cells, left_tokens, left_rows = cells - tokens, left_tokens - tokens, left_rows - 1
        if rows and len(chosen) < case.limits.step_prefixes:
            left_cells = cells
            chosen.append((number, rows))
        if left_tokens <= 0:
            break
    return chosen


def as_pairs(picked: Sequence[Picked]) -> list[tuple[int, list[tuple[int, int]]]]:
    return [(part.job, part.rows) for part in picked]


def lengths(picked: Sequence[Picked]) -> list[int]:
    return [tokens for part in picked for tokens, _ in part.rows]


@unhurried
@given(cases())
def test_a_step_keeps_every_limit(case: Case) -> None:
    """A step has no more rows, requests, cells and tokens than the limits allow."""
    picked = plan(case.jobs, case.limits)
    cells = sum(lengths(picked)) + sum(case.jobs[part.job].prefix_tokens for part in picked)
    assert len(lengths(picked)) <= case.limits.step_rows
    assert len(picked) <= case.limits.step_prefixes
    assert cells <= case.limits.cells
    assert len(lengths(picked)) == 1 or sum(lengths(picked)) <= case.limits.step_tokens


@unhurried
@given(cases())
def test_a_row_is_chosen_once_and_as_it_waits(case: Case) -> None:
    """Every chosen row waits in its job, and none is chosen twice."""
    for part in plan(case.jobs, case.limits):
        assert len(part.rows) == len(set(part.rows))
        assert set(part.rows) <= set(case.jobs[part.job].pending)


@unhurried
@given(cases())
def test_something_is_chosen_whenever_something_waits(case: Case) -> None:
    """The plan is empty exactly when no job has a row left."""
    assert any(job.pending for job in case.jobs) == bool(plan(case.jobs, case.limits))


@unhurried
@given(cases())
def test_the_first_job_leads_with_its_longest_row(case: Case) -> None:
    """The longest row of the first job with work goes, so that no row can wait forever."""
    picked = plan(case.jobs, case.limits)
    waiting = [(number, max(job.pending)) for number, job in enumerate(case.jobs) if job.pending]
    assert waiting[:1] == [(part.job, part.rows[0]) for part in picked[:1]]


@unhurried
@given(cases())
def test_rows_go_longest_first_and_jobs_in_turn(case: Case) -> None:
    """Rows of a job come by falling length, jobs in the order they were given, each once."""
    picked = plan(case.jobs, case.limits)
    numbers = [part.job for part in picked]
    assert sorted(set(numbers)) == numbers
    for part in picked:
        assert sorted(part.rows, reverse=True) == part.rows


@unhurried
@given(cases(), st.integers(1, 80))
def test_a_step_is_first_fit_by_falling_length(case: Case, budget: int) -> None:
    """A job later in turn gets only the room that the rows before it couldn't use."""
    picked = plan(case.jobs, case.limits, step_tokens=budget)
    assert expected_plan(case, budget) == as_pairs(picked)


@unhurried
@given(cases(), st.integers(1, 80))
def test_step_tokens_overrides_the_budget(case: Case, budget: int) -> None:
    """`step_tokens` counts instead of the limits' own, upwards and downwards."""
    limits = msgspec.structs.replace(case.limits, step_tokens=budget)
    as_override = plan(case.jobs, case.limits, step_tokens=budget)
    assert as_pairs(plan(case.jobs, limits)) == as_pairs(as_override)


@unhurried
@given(cases())
def test_planning_again_and_again_runs_every_row(case: Case) -> None:
    """Every row is chosen once when plan follows plan, in at most one step a row."""
    expected = sorted((number, row) for number, job in enumerate(case.jobs) for row in job.pending)
    ran: list[tuple[int, tuple[int, int]]] = []
    steps = 0
    while picked := plan(case.jobs, case.limits):
        steps += 1
        for part in picked:
            ran += [(part.job, row) for row in part.rows]
            for row in part.rows:
                case.jobs[part.job].pending.remove(row)
    assert expected == sorted(ran)
    assert steps <= len(expected)


def test_an_over_long_row_goes_alone() -> None:
    """A row over the budget isn't kept waiting, and takes nothing with it."""
    limits = StepLimits(pair_tokens=100, step_tokens=10, step_rows=8, step_prefixes=4, cells=200)
    jobs_waiting = [Job(5, [(1, 0), (90, 1)]), Job(0, [(1, 0)])]
    expected = [(0, [(90, 1)])]
    assert expected == as_pairs(plan(jobs_waiting, limits))


def test_prefixes_count_towards_the_cells() -> None:
    """A second job whose prefix leaves its row no cells waits for a later step."""
    limits = StepLimits(pair_tokens=20, step_tokens=99, step_rows=8, step_prefixes=4, cells=20)
    jobs_waiting = [Job(5, [(10, 0)]), Job(5, [(1, 0)]), Job(2, [(3, 0)])]
    expected = [(0, [(10, 0)]), (2, [(3, 0)])]
    assert expected == as_pairs(plan(jobs_waiting, limits))
