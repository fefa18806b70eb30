"""The pool on real threads, with backends that a gate holds: no sleeps, every wait bounded."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
import numpy as np
import pytest

from rerankd.domain import Prompt, StepFacts, TokenIds
from rerankd.errors import (
    DeadlineExceeded,
    EngineFailure,
    QueueFull,
    RerankdError,
    ShuttingDown,
    TooManyTokens,
)
from rerankd.scheduling.scheduler import LONGEST_RETRY, Scheduler
from rerankd.scheduling.tickets import Load, ScoredRows

from support.fakes import LIMITS, PATIENCE, FakeBackend, Gate, prompt

T = TypeVar("T")

BLOCKER, GOOD, GUILTY, OTHER = 1, 2000, 3000, 4000


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 3 * PATIENCE))


async def soon(awaited: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaited, PATIENCE)


@asynccontextmanager
async def pool(
    *backends: FakeBackend,
    gate: Gate | None = None,
    max_tokens: int = 10_000,
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[Scheduler]:
    """Run a scheduler; at the end of the test open the gate and close it."""
    timed = {"clock": clock} if clock else {}
    scheduler = Scheduler(backends, max_tokens=max_tokens, **timed)
    try:
        yield scheduler
    finally:
        if gate:
            gate.open()
        await soon(scheduler.close(0))


async def submit(scheduler: Scheduler, *prompts: Prompt) -> list[asyncio.Task[ScoredRows]]:
    """Submit prompts and give the loop the turn in which each is admitted."""
    tasks = [asyncio.create_task(scheduler.score(one)) for one in prompts]
    await asyncio.sleep(0)
    return tasks


async def held(scheduler: Scheduler, gate: Gate, blocker: Prompt) -> asyncio.Task[ScoredRows]:
    """Submit a prompt and wait until its first step stands at the gate."""
    (task,) = await submit(scheduler, blocker)
    await asyncio.to_thread(gate.await_step)
    return task


async def packed(
    scheduler: Scheduler, gate: Gate, *prompts: Prompt
) -> list[ScoredRows | BaseException]:
    """Score prompts in one step: they gather while a blocker is at the gate."""
    blocker = await held(scheduler, gate, prompt(1, first=BLOCKER))
    tasks = await submit(scheduler, *prompts)
    gate.open()
    await soon(blocker)
    return await soon(asyncio.gather(*tasks, return_exceptions=True))


def sums(one: Prompt) -> tuple[float, ...]:
    return tuple(float(row.sum()) for row in one.rows)


def scored_only(outcomes: Sequence[ScoredRows | BaseException]) -> list[ScoredRows]:
    return [one for one in outcomes if isinstance(one, ScoredRows)]


def requests_of(backend: FakeBackend) -> list[list[int]]:
    """Return the first ids of the requests in every step."""
    return [[int(part.rows[0][0]) for part in step] for step in backend.steps]


def test_scores_come_in_the_order_of_rows() -> None:
    """Rows run longest first over many steps, and their scores come back in input order."""

    async def test() -> None:
        asked = prompt(3, 60, 1, 25, 40, 64, 7)
        async with pool(FakeBackend()) as scheduler:
            assert sums(asked) == (await soon(scheduler.score(asked))).scores

    run(test())


def test_a_prompt_without_rows_needs_no_engine() -> None:
    """Nothing to score is answered at once, without a step."""

    async def test() -> None:
        backend = FakeBackend()
        async with pool(backend) as scheduler:
            expected = ScoredRows((), 0.0, 0.0)
            assert expected == await soon(scheduler.score(prompt(prefix=5)))
        assert not backend.steps

    run(test())


def test_waiting_requests_share_a_step() -> None:
    """Requests that wait together are decoded in one step, each with its own rows."""

    async def test() -> None:
        gate = Gate()
        backend = FakeBackend(gate=gate)
        asked = [prompt(5, 4, first=GOOD), prompt(6, first=GUILTY), prompt(7, first=OTHER)]
        async with pool(backend, gate=gate) as scheduler:
            scored = await packed(scheduler, gate, *asked)
        assert [sums(one) for one in asked] == [one.scores for one in scored_only(scored)]
        expected = [[BLOCKER], [GUILTY, OTHER, GOOD]]
        assert expected == requests_of(backend)

    run(test())


def test_every_backend_has_its_own_thread() -> None:
    """Two workers stand at the gate at the same time with one request's rows."""

    async def test() -> None:
        gate = Gate()
        backends = [FakeBackend(gate=gate), FakeBackend(gate=gate)]
        asked = prompt(40, 40)
        async with pool(*backends, gate=gate) as scheduler:
            (task,) = await submit(scheduler, asked)
            for _ in backends:
                await asyncio.to_thread(gate.await_step)
            gate.open()
            assert sums(asked) == (await soon(task)).scores
        expected = [[[40]], [[40]]]
        assert expected == [backend.steps_of_lengths for backend in backends]

    run(test())


def test_many_requests_on_many_threads_get_their_own_scores() -> None:
    """Sixty requests of random rows over three workers are all answered right."""

    async def test() -> None:
        random = np.random.default_rng(7)
        asked = [
            prompt(*random.integers(1, 50, size=int(random.integers(1, 30))), prefix=number % 9)
            for number in range(60)
        ]
        async with pool(*(FakeBackend() for _ in range(3)), max_tokens=10**6) as scheduler:
            scored = await soon(asyncio.gather(*(scheduler.score(one) for one in asked)))
            assert [sums(one) for one in asked] == [one.scores for one in scored]
            assert scheduler.load.requests == scheduler.load.tokens == 0

    run(test())


def test_a_full_queue_refuses_whole_and_changes_nothing() -> None:
    """What doesn't fit is refused at once with a time to retry; what waits goes on."""

    async def test() -> None:
        gate = Gate()
        async with pool(FakeBackend(gate=gate), gate=gate, max_tokens=100) as scheduler:
            first = await held(scheduler, gate, prompt(40, 40))
            before = scheduler.load
            with pytest.raises(QueueFull) as refused:
                await soon(scheduler.score(prompt(1, 20)))
            assert before == scheduler.load == Load(1, 80, 0.0)
            assert refused.value.retry_after == 1
            (fitting,) = await submit(scheduler, prompt(20))
            gate.open()
            expected = [2, 1]
            assert expected == [len((await soon(one)).scores) for one in (first, fitting)]

    run(test())


@pytest.mark.parametrize(("seconds_a_row", "expected"), [(1, 9), (1000, LONGEST_RETRY)])
def test_retry_after_is_the_time_the_queue_needs(seconds_a_row: int, expected: int) -> None:
    """The seconds are the waiting tokens over the measured rate, within bounds."""

    async def test() -> None:
        gate, clock = Gate(), Clock()

        def score(_row: TokenIds) -> float:
            clock.now += seconds_a_row
            return 0.0

        backend = FakeBackend(score=score, gate=gate)
        async with pool(backend, gate=gate, max_tokens=100, clock=clock) as scheduler:
            first = await held(scheduler, gate, prompt(10))  # 10 tokens in a row's time
            gate.let()
            await soon(first)
            await held(scheduler, gate, prompt(45, 45))
            with pytest.raises(QueueFull) as refused:
                await soon(scheduler.score(prompt(20)))
            assert expected == refused.value.retry_after

    run(test())


def test_what_could_never_fit_is_not_told_to_retry() -> None:
    """A request over the whole limit is the caller's mistake, not a full queue."""

    async def test() -> None:
        async with pool(FakeBackend(), max_tokens=100) as scheduler:
            with pytest.raises(TooManyTokens) as refused:
                await soon(scheduler.score(prompt(50, 50, prefix=1)))
            assert refused.value.retry_after is None
            assert refused.value.param == "documents"

    run(test())


def test_a_caller_that_goes_takes_its_waiting_rows_along() -> None:
    """Cancelled in mid-run, a request runs no further step and all its tokens come free."""

    async def test() -> None:
        gate = Gate()
        backend = FakeBackend(gate=gate)
        async with pool(backend, gate=gate) as scheduler:
            gone = await held(scheduler, gate, prompt(60, 60, 60, prefix=4))
            gone.cancel()
            await soon(asyncio.wait([gone]))
            assert Load(0, 64, 0.0) == scheduler.load  # the running row and the prefix
            gate.open()
            await soon(scheduler.score(prompt(5)))
            assert scheduler.load.tokens == 0
        expected = [[60], [5]]
        assert expected == backend.steps_of_lengths

    run(test())


def test_a_caller_that_goes_while_waiting_is_never_run() -> None:
    """A request cancelled before its turn costs the engine nothing."""

    async def test() -> None:
        gate = Gate()
        backend = FakeBackend(gate=gate)
        async with pool(backend, gate=gate) as scheduler:
            blocker = await held(scheduler, gate, prompt(1, first=BLOCKER))
            (gone,) = await submit(scheduler, prompt(9, first=OTHER))
            gone.cancel()
            await soon(asyncio.wait([gone]))
            gate.open()
            await soon(blocker)
            await soon(scheduler.score(prompt(2, first=GOOD)))
        expected = [[BLOCKER], [GOOD]]
        assert expected == requests_of(backend)

    run(test())


def test_only_the_request_that_makes_a_step_raise_fails() -> None:
    """A failing step is run again request by request, and the innocent get their scores."""

    async def test() -> None:
        gate = Gate()
        backend = FakeBackend(gate=gate, raises_on={GUILTY})
        asked = [prompt(5, first=GOOD), prompt(6, first=GUILTY), prompt(7, first=OTHER)]
        async with pool(backend, gate=gate) as scheduler:
            good, guilty, other = await packed(scheduler, gate, *asked)
        assert isinstance(guilty, EngineFailure)
        assert [sums(asked[0]), sums(asked[2])] == [s.scores for s in scored_only([good, other])]
        expected = [[BLOCKER], [GOOD, GUILTY, OTHER], [GOOD], [GUILTY], [OTHER]]
        assert expected == requests_of(backend)

    run(test())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_only_the_request_with_a_score_that_is_no_number_fails(bad: float) -> None:
    """NaN and infinities are a failure of their own request, never a score."""

    async def test() -> None:
        gate = Gate()
        backend = FakeBackend(gate=gate, score=lambda row: bad if row[0] == GUILTY else 1.5)
        asked = [prompt(5, first=GOOD), prompt(6, 6, first=GUILTY - 1), prompt(7, first=OTHER)]
        async with pool(backend, gate=gate) as scheduler:
            good, guilty, other = await packed(scheduler, gate, *asked)
        assert isinstance(guilty, EngineFailure)
        expected = [(1.5,), (1.5,)]
        assert expected == [scored.scores for scored in scored_only([good, other])]

    run(test())


def test_only_the_request_with_too_few_scores_fails() -> None:
    """A step with a score missing is run again request by request."""

    async def test() -> None:
        gate = Gate()
        backend = FakeBackend(gate=gate, drops_on={GUILTY})
        asked = [prompt(5, first=GOOD), prompt(6, 6, first=GUILTY), prompt(7, first=OTHER)]
        async with pool(backend, gate=gate) as scheduler:
            outcomes = await packed(scheduler, gate, *asked)
        expected = [False, True, False]
        assert expected == [isinstance(outcome, EngineFailure) for outcome in outcomes]

    run(test())


class Broken(FakeBackend):
    """A backend whose first answers are whatever the test says."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self._answers = list(answers)

    def run(self, step: Sequence[Prompt]) -> list[list[float]]:
        right = super().run(step)
        answer = self._answers.pop(0) if self._answers else right
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    "answer",
    [
        EngineFailure("llama_decode returned -3"),
        ZeroDivisionError("a bug"),
        MemoryError(),
        [],
        [[]],
        [[1.0, 2.0]],
        [[1.0], [2.0]],
        None,
        [None],
        [["seven"]],
        [[None]],
        [[math.nan]],
    ],
    ids=repr,
)
def test_a_worker_lives_on_after_any_failure(answer: Any) -> None:
    """Whatever a backend does, its request fails and the next one is answered."""

    async def test() -> None:
        async with pool(Broken(answer)) as scheduler:
            with pytest.raises(EngineFailure):
                await soon(scheduler.score(prompt(3)))
            asked = prompt(4)
            assert sums(asked) == (await soon(scheduler.score(asked))).scores
            assert scheduler.load.tokens == 0

    run(test())


def test_a_request_that_failed_runs_no_further_step() -> None:
    """After a failed share the rows that still wait are dropped, on every worker."""

    async def test() -> None:
        backend = FakeBackend(raises_on={GUILTY + 2})
        async with pool(backend) as scheduler:
            with pytest.raises(EngineFailure):
                await soon(scheduler.score(prompt(40, 50, 60, first=GUILTY)))
            await soon(scheduler.score(prompt(1)))
            assert scheduler.load.tokens == 0
        expected = [[60], [1]]
        assert expected == backend.steps_of_lengths

    run(test())


def test_a_small_request_overtakes_a_large_one() -> None:
    """A 1-document request is answered while a 20-document one still has steps to go."""

    async def test() -> None:
        gate = Gate()
        backend = FakeBackend(gate=gate)
        async with pool(backend, gate=gate) as scheduler:
            large = await held(scheduler, gate, prompt(*[60] * 20))
            (small,) = await submit(scheduler, prompt(50, first=OTHER))
            gate.let(2)
            await soon(small)
            await asyncio.to_thread(gate.await_step)
            assert not large.done()
            gate.open()
            await soon(large)
        expected = [60, 50, 60]
        assert expected == [lengths[0] for lengths in backend.steps_of_lengths[:3]]

    run(test())


def test_times_are_of_waiting_and_of_computing() -> None:
    """Queue time ends when the first row starts, engine time when the last score is there."""

    async def test() -> None:
        gate, clock = Gate(), Clock()

        def score(row: TokenIds) -> float:
            clock.now += 2.0 if row[0] >= OTHER else 0.0
            return 0.0

        backend = FakeBackend(score=score, gate=gate)
        async with pool(backend, gate=gate, clock=clock) as scheduler:
            await held(scheduler, gate, prompt(1, first=BLOCKER))
            (task,) = await submit(scheduler, prompt(60, 60, first=OTHER))  # of two steps
            clock.now = 3.0
            gate.open()
            expected = ScoredRows((0.0, 0.0), 3.0, 4.0)
            assert expected == await soon(task)

    run(test())


def test_load_tells_requests_tokens_and_rate() -> None:
    """The figures count what waits and runs, and all workers' tokens in a second."""

    async def test() -> None:
        gate, clock = Gate(), Clock()

        def score(row: TokenIds) -> float:
            clock.now += len(row) / 50
            return 0.0

        backends = [FakeBackend(score=score, gate=gate) for _ in range(2)]
        async with pool(*backends, gate=gate, clock=clock) as scheduler:
            expected = Load(0, 0, 0.0)
            assert expected == scheduler.load
            first = await held(scheduler, gate, prompt(20, prefix=4))
            second = await held(scheduler, gate, prompt(30))
            waiting = await submit(scheduler, prompt(40, 50), prompt(1))
            expected = Load(4, 24 + 30 + 90 + 1, 0.0)
            assert expected == scheduler.load
            gate.open()
            await soon(asyncio.gather(first, second, *waiting))
            assert scheduler.load.requests == scheduler.load.tokens == 0
            assert scheduler.load.tokens_per_second > 0

    run(test())


def test_the_rate_is_tokens_over_busy_seconds_of_all_workers() -> None:
    """Idle time doesn't count: 100 tokens in 2 busy seconds of one of 3 workers are 150/s."""

    async def test() -> None:
        clock = Clock()

        def score(_row: TokenIds) -> float:
            clock.now += 1.0
            return 0.0

        limits = msgspec.structs.replace(LIMITS, step_tokens=100)
        backends = [FakeBackend(score=score, limits=limits) for _ in range(3)]
        async with pool(*backends, clock=clock) as scheduler:
            for _ in range(2):
                await soon(scheduler.score(prompt(50)))
                clock.now += 100.0
            expected = 150.0
            assert expected == scheduler.load.tokens_per_second

    run(test())


async def refusal(scheduler: Scheduler) -> RerankdError:
    with pytest.raises(ShuttingDown) as refused:
        await soon(scheduler.score(prompt(1)))
    return refused.value


def threads_alive(scheduler: Scheduler) -> list[str]:
    return [thread.name for thread in scheduler._threads if thread.is_alive()]


def test_closing_lets_running_work_finish_and_refuses_new() -> None:
    """Requests admitted before the close are answered, later ones refused, threads end."""

    async def test() -> None:
        gate = Gate()
        backend = FakeBackend(gate=gate)
        async with pool(backend, gate=gate) as scheduler:
            asked = prompt(60, 60)
            task = await held(scheduler, gate, asked)
            closing = asyncio.create_task(scheduler.close(PATIENCE))
            await asyncio.sleep(0)
            assert (await refusal(scheduler)).retry_after == 1
            gate.open()
            assert sums(asked) == (await soon(task)).scores
            await soon(closing)
            assert not threads_alive(scheduler)
            assert scheduler.load.tokens == 0

    run(test())


def test_closing_over_the_limit_fails_the_rest() -> None:
    """When time is up, what runs and what waits fails at once, and what waits never runs."""

    async def test() -> None:
        gate = Gate()
        backend = FakeBackend(gate=gate)
        async with pool(backend, gate=gate) as scheduler:
            running = await held(scheduler, gate, prompt(60, 60, first=OTHER))
            (waiting,) = await submit(scheduler, prompt(5, first=GOOD))
            closing = asyncio.create_task(scheduler.close(0))
            outcomes = await soon(asyncio.gather(running, waiting, return_exceptions=True))
            expected = [ShuttingDown, ShuttingDown]
            assert expected == [type(outcome) for outcome in outcomes]
            gate.open()  # the step in hand is the one thing that close can't break off
            await soon(closing)
            assert not threads_alive(scheduler)
        expected_steps = [[60]]
        assert expected_steps == backend.steps_of_lengths

    run(test())


def test_closing_idle_and_closing_again_is_no_error() -> None:
    """An idle pool closes at once, a second close does nothing, and scoring stays refused."""

    async def test() -> None:
        scheduler = Scheduler([FakeBackend(), FakeBackend()], max_tokens=10)
        await soon(scheduler.close(PATIENCE))
        await soon(scheduler.close(PATIENCE))
        assert not threads_alive(scheduler)
        assert isinstance(await refusal(scheduler), ShuttingDown)

    run(test())


def test_the_backend_belongs_to_who_made_it() -> None:
    """Closing the pool ends its threads and leaves the contexts to the engine."""

    async def test() -> None:
        backend = FakeBackend()
        async with pool(backend) as scheduler:
            await soon(scheduler.score(prompt(1)))
        assert not backend.closed

    run(test())


# Priorities, deadlines, early scores


def test_priority_decides_among_what_waits() -> None:
    """Of requests that wait together the urgent one runs first."""

    async def test() -> None:
        gate = Gate()
        backend = FakeBackend(gate=gate)
        async with pool(backend, gate=gate) as scheduler:
            blocker = await held(scheduler, gate, prompt(1, first=BLOCKER))
            ordinary = asyncio.create_task(scheduler.score(prompt(60, first=GOOD)))
            urgent = asyncio.create_task(scheduler.score(prompt(60, first=OTHER), priority=-1))
            await asyncio.sleep(0)
            gate.open()
            await soon(asyncio.gather(blocker, ordinary, urgent))
        assert requests_of(backend) == [[BLOCKER], [OTHER], [GOOD]]

    run(test())


def test_what_cannot_be_done_in_time_is_refused_at_once_and_never_run() -> None:
    """When the speed is known, a request over its deadline costs the engine nothing."""

    async def test() -> None:
        now = [0.0]
        backend = TimedBackend(now, seconds=1.0)
        async with pool(backend, clock=lambda: now[0]) as scheduler:
            await soon(scheduler.score(prompt(60)))  # 60 tokens a second
            with pytest.raises(DeadlineExceeded):
                await soon(scheduler.score(prompt(60, 60, 60), deadline=now[0] + 2.9))
            assert len(backend.steps) == 1
            await soon(scheduler.score(prompt(60, 60, 60), deadline=now[0] + 3.1))
        assert len(backend.steps) == 4

    run(test())


def test_a_request_is_given_up_as_soon_as_the_rest_cannot_be_in_time() -> None:
    """A step that takes longer than foreseen ends the request before the next one."""

    async def test() -> None:
        now = [0.0]
        backend = TimedBackend(now, seconds=1.0)
        told: list[int] = []
        async with pool(backend, clock=lambda: now[0]) as scheduler:
            await soon(scheduler.score(prompt(60)))
            backend.seconds = 2.0
            with pytest.raises(DeadlineExceeded):
                await soon(
                    scheduler.score(
                        prompt(60, 60, 60),
                        deadline=now[0] + 3.5,
                        on_rows=lambda rows, _scores: told.extend(rows),
                    )
                )
        assert len(told) == 1
        assert len(backend.steps) == 2

    run(test())


def test_the_clock_ends_a_request_that_nothing_else_ends() -> None:
    """A step that hangs doesn't keep its caller beyond the deadline."""

    async def test() -> None:
        gate = Gate()
        async with pool(FakeBackend(gate=gate), gate=gate) as scheduler:
            with pytest.raises(DeadlineExceeded):
                await soon(scheduler.score(prompt(5), deadline=time.monotonic() + 0.02))
            assert not scheduler.load.requests

    run(test())


def test_rows_are_told_as_steps_end() -> None:
    """Every row is told once with its score, and all before the answer."""

    async def test() -> None:
        told: dict[int, float] = {}
        asked = prompt(60, 50, 40, 30)

        def tell(rows: Sequence[int], scores: Sequence[float]) -> None:
            told.update(zip(rows, scores, strict=True))

        async with pool(FakeBackend()) as scheduler:
            scored = await soon(scheduler.score(asked, on_rows=tell))
        assert tuple(told[row] for row in range(4)) == scored.scores

    run(test())


def test_every_step_is_reported() -> None:
    """Requests, documents and tokens of a step, against what it could have taken."""

    async def test() -> None:
        found: list[StepFacts] = []
        backend = FakeBackend()
        scheduler = Scheduler([backend], max_tokens=1000, on_step=found.append)
        await soon(scheduler.score(prompt(20, 30, prefix=5)))
        await soon(scheduler.close(0))
        assert [(one.requests, one.documents, one.tokens, one.budget) for one in found] == [
            (1, 2, 50, LIMITS.step_tokens)
        ]

    run(test())


class TimedBackend(FakeBackend):
    """A backend whose every step takes some seconds of a clock that it moves itself."""

    def __init__(self, now: list[float], seconds: float) -> None:
        super().__init__()
        self._now = now
        self.seconds = seconds

    def run(self, step: Sequence[Prompt]) -> list[list[float]]:
        """See FakeBackend."""
        self._now[0] += self.seconds
        return super().run(step)


def test_rows_in_hand_count_when_the_rest_of_a_job_in_order_is_given_up() -> None:
    """At the deadline's approach nothing new is begun, but what runs is reported."""
    gate, clock = Gate(), Clock()
    told: list[int] = []

    async def test() -> None:
        limits = msgspec.structs.replace(LIMITS, step_rows=1)
        async with pool(FakeBackend(gate=gate, limits=limits), gate=gate, clock=clock) as scheduler:
            asked = asyncio.create_task(
                scheduler.score(
                    prompt(10, 10, 10),
                    deadline=1000.0,
                    in_order=True,
                    on_rows=lambda rows, _scores: told.extend(rows),
                )
            )
            await asyncio.to_thread(gate.await_step)
            clock.now = 1001.0
            (other,) = await submit(scheduler, prompt(5))  # gives up what is late
            assert not asked.done()
            gate.let(2)
            with pytest.raises(DeadlineExceeded):
                await soon(asked)
            await soon(other)

    run(test())
    assert told == [0]
