"""The policy of whose work goes next, and its accounts, without threads."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from rerankd.domain import NO_TOKENS, Prompt, StepLimits, Vector
from rerankd.scheduling.fair_queue import EQUAL_TURN, SMALLEST_STEP, FairQueue, Job, Share

from support.fakes import prompt

WIDE = StepLimits(pair_tokens=64, step_tokens=64, step_rows=64, step_prefixes=64, cells=4096)


def job(*lengths: int, prefix: int = 0) -> Job:
    return Job(prompt(*lengths, prefix=prefix))


def queue(*, max_tokens: int = 1_000_000, workers: int = 1) -> FairQueue:
    return FairQueue(max_tokens, workers)


def run_step(waiting: FairQueue, limits: StepLimits = WIDE) -> tuple[Share, ...]:
    """Take a step and report it done."""
    shares = waiting.take(limits)
    for share in shares:
        waiting.done(share)
    return shares


def run_all(waiting: FairQueue, limits: StepLimits = WIDE) -> Iterator[Share]:
    """Run steps until nothing waits."""
    while shares := run_step(waiting, limits):
        yield from shares


def order_of_finish(waiting: FairQueue, limits: StepLimits = WIDE) -> list[Job]:
    return [share.job for share in run_all(waiting, limits) if share.job.finished]


def test_a_small_job_goes_before_the_rest_of_a_large_one() -> None:
    """A job of 1 document leads the very next step while one of 1,000 is being served."""
    waiting, large, small = queue(), job(*[50] * 1000), job(50)
    waiting.add(large)
    run_step(waiting)
    waiting.add(small)
    assert small is run_step(waiting)[0].job


def test_the_room_a_small_job_leaves_is_used() -> None:
    """The large job goes on in the part of the step that the small one doesn't fill."""
    waiting, large, small = queue(), job(*[20] * 1000), job(24)
    waiting.add(large)
    waiting.add(small)
    expected = [(small, 24), (large, 40)]
    assert expected == [(share.job, share.tokens) for share in run_step(waiting)]


def small_tokens_before(large_tokens: int, small_tokens: int, present: int) -> int:
    """Return the tokens of small jobs, arriving without end, that run before a large one's turn.

    There are `present` jobs at any time; steps hold one row, so that nothing rides along.
    """
    waiting = queue()
    limits = msgspec.structs.replace(WIDE, step_rows=1)
    large = job(*[small_tokens] * (large_tokens // small_tokens))
    waiting.add(large)
    passed = 0
    while passed <= 2 * present * large_tokens:
        while len(waiting.jobs) < present:
            waiting.add(job(small_tokens))
        if run_step(waiting, limits)[0].job is large:
            break
        passed += small_tokens
    return passed


@pytest.mark.parametrize("present", [2, 3, 10])
@pytest.mark.parametrize(("large", "small"), [(400, 4), (1000, 10), (4000, 40)])
def test_an_endless_stream_of_small_jobs_does_not_starve_a_large_one(
    large: int, small: int, present: int
) -> None:
    """With n jobs there at any time, a job of L tokens waits for n·L tokens of others, no more."""
    least = present * (large - 2 * small)  # n shares of the engine, less what is in hand
    assert least <= small_tokens_before(large, small, present) <= present * large


def test_a_large_job_whose_turn_came_keeps_it() -> None:
    """Once the clock has reached a large job, nothing that arrives later delays its end."""
    waiting = queue()
    limits = msgspec.structs.replace(WIDE, step_rows=1)
    large = job(*[10] * 20)
    waiting.add(large)
    while run_step(waiting, limits)[0].job is not large or len(large.pending) > 10:
        waiting.add(job(10))
    for _ in range(len(large.pending)):
        waiting.add(job(10))
        assert large is run_step(waiting, limits)[0].job
    assert large.finished


def test_equal_jobs_finish_in_the_order_they_came() -> None:
    """Jobs of one size are served first in, first out."""
    waiting, jobs = queue(), [job(30, 30) for _ in range(10)]
    for one in jobs:
        waiting.add(one)
    assert jobs == order_of_finish(waiting)


def test_jobs_that_come_together_finish_smallest_first() -> None:
    """Of jobs that arrive at the same time, the one with the least work is done first."""
    waiting, jobs = queue(), [job(*[30] * count) for count in (5, 1, 4, 2, 3)]
    for one in jobs:
        waiting.add(one)
    assert sorted(jobs, key=lambda one: one.missing) == order_of_finish(waiting)


def test_the_prefix_counts_as_work() -> None:
    """A long shared prefix makes a job larger in the order of turns."""
    waiting, long_prefix, short = queue(), job(10, prefix=40), job(30)
    waiting.add(long_prefix)
    waiting.add(short)
    expected = [short, long_prefix]
    assert expected == [share.job for share in run_step(waiting)]


def test_work_is_conserved() -> None:
    """Every row of every job runs exactly once, and no step is empty while rows wait."""
    waiting = queue(workers=3)
    jobs = [job(*range(1, 1 + count), prefix=count % 3) for count in (1, 40, 7, 23)]
    for one in jobs:
        waiting.add(one)
    ran = [(share.job.number, row) for share in run_all(waiting) for row in share.rows]
    expected = [(one.number, row) for one in jobs for row in range(len(one.prompt.rows))]
    assert expected == sorted(ran)
    assert not waiting.has_pending
    assert waiting.tokens == len(waiting.jobs) == 0


def test_a_share_holds_the_rows_it_names() -> None:
    """A share's prompt is the job's prefix and the named rows, in running order."""
    waiting, one = queue(), job(3, 9, 6, prefix=2)
    waiting.add(one)
    (share,) = waiting.take(WIDE)
    expected_rows, expected_lengths = (1, 2, 0), [9, 6, 3]
    assert (expected_rows, 18) == (share.rows, share.tokens)
    assert expected_lengths == [len(row) for row in share.prompt.rows]
    assert one.prompt.prefix is share.prompt.prefix


def test_fill_gives_the_scores_in_input_order_once_all_are_there() -> None:
    """Scores of shares in any order come back by row, after the last one."""
    one = job(1, 1, 1)
    assert one.fill([2, 0], [0.2, 0.0]) is None
    expected = (0.0, 0.1, 0.2)
    assert expected == one.fill([1], [0.1])


def test_admission_takes_a_job_whole_or_not_at_all() -> None:
    """A job of prefix and rows fits up to the limit's last token, and not one beyond."""
    waiting = queue(max_tokens=100)
    waiting.add(job(20, 20, prefix=10))
    assert waiting.fits(50)
    assert not waiting.fits(51)


def test_tokens_come_free_as_rows_run() -> None:
    """Rows free their tokens step by step, the prefix when the job ends."""
    waiting = queue()
    waiting.add(job(60, 60, prefix=7))
    reserved = [waiting.tokens]
    while run_step(waiting):
        reserved.append(waiting.tokens)
    expected = [127, 67, 0]
    assert expected == reserved


def test_cancel_drops_only_what_has_not_run() -> None:
    """Rows that run keep their tokens until they are done; the others go at once."""
    waiting, one, other = queue(), job(60, 50, 40), job(5)
    waiting.add(one)
    (share,) = waiting.take(WIDE)
    waiting.add(other)
    waiting_rows = len(one.pending)
    assert waiting_rows == waiting.cancel(one)
    assert share.tokens + other.reserved == waiting.tokens
    waiting.done(share)
    assert other.reserved == waiting.tokens
    assert (other,) == waiting.jobs


def test_cancelling_twice_or_after_the_end_changes_nothing() -> None:
    """A job that is gone gives nothing back a second time."""
    waiting, one = queue(), job(10, 10)
    waiting.add(one)
    expected = [2, 0]
    assert expected == [waiting.cancel(one), waiting.cancel(one)]
    assert waiting.tokens == 0


def test_small_work_is_spread_over_the_workers() -> None:
    """One request that would fit one worker's step gives every worker a part, none over 1/n."""
    waiting = queue(workers=4)
    limits = msgspec.structs.replace(WIDE, step_tokens=1000)
    waiting.add(job(*[40] * 8))
    tokens = [sum(share.tokens for share in waiting.take(limits)) for _ in range(4)]
    assert 40 <= min(tokens) <= max(tokens) <= 8 * 40 // 4


def test_tiny_work_is_not_spread() -> None:
    """Work below the smallest step worth having stays on one worker."""
    waiting = queue(workers=4)
    waiting.add(job(*[1] * SMALLEST_STEP))
    (share,) = waiting.take(WIDE)
    assert share.tokens == SMALLEST_STEP
    assert not waiting.has_pending


def test_each_workers_own_limits_hold() -> None:
    """A step keeps the limits of the backend that asks for it."""
    waiting = queue()
    waiting.add(job(*[4] * 10))
    narrow = msgspec.structs.replace(WIDE, step_rows=3)
    expected = [3, 3, 3, 1]
    assert expected == [len(share.rows) for share in run_all(waiting, narrow)]


def ordered(*lengths: int, deadline: float) -> Job:
    return Job(prompt(*lengths), deadline=deadline, in_order=True)


def test_a_job_in_order_runs_its_rows_as_they_are_numbered() -> None:
    """Whatever their lengths are, and although a later row would fill a step better."""
    waiting, one = queue(), ordered(30, 40, 5, 60, 20, deadline=float("inf"))
    waiting.add(one)
    expected = [(0,), (1, 2), (3,), (4,)]
    assert expected == [share.rows for share in run_all(waiting)]
    assert waiting.tokens == len(waiting.jobs) == 0


def test_a_job_in_order_rides_along_with_what_comes_next() -> None:
    """In the room that another job leaves, only its next rows go."""
    waiting, first, one = queue(), job(30), ordered(20, 20, 1, deadline=float("inf"))
    waiting.add(first)
    waiting.add(one)
    expected = [(first, (0,)), (one, (0,))]
    assert expected == [(share.job, share.rows) for share in run_step(waiting)]


def test_steps_of_a_job_in_order_leave_time_for_others_before_its_deadline() -> None:
    """At 100 tokens/s a step with 2 s left takes half a second; an unknown speed is tried first."""
    waiting, one = queue(), ordered(*[10] * 20, deadline=2.0)
    waiting.add(one)
    (unknown,) = waiting.take(WIDE, now=0.0, tokens_per_second=0.0)
    (known,) = waiting.take(WIDE, now=0.0, tokens_per_second=100.0)
    (late,) = waiting.take(WIDE, now=1.9, tokens_per_second=100.0)
    expected = [1, 5, 1]
    assert expected == [len(share.rows) for share in (unknown, known, late)]


def test_a_job_in_order_is_late_when_its_next_row_is() -> None:
    """What is done until then counts, so that work for hours is begun within a second."""
    waiting, one = queue(workers=2), ordered(10, *[50] * 1000, deadline=1.0)
    waiting.add(one)
    assert waiting.late(0.79, 100.0) == []  # a worker does 50 tokens/s
    assert waiting.late(0.81, 100.0) == [one]
    assert waiting.late(1.1, 0.0) == [one]


class Accounts(RuleBasedStateMachine):
    """Jobs come, run and are cancelled in any order; the queue's accounts stay true."""

    jobs: Bundle[Job] = Bundle("jobs")
    running: Bundle[Share] = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.waiting = FairQueue(max_tokens=2000, workers=2)
        self.held: dict[Job, list[Share]] = {}
        self.limits = msgspec.structs.replace(WIDE, step_rows=4, step_prefixes=3)

    @rule(target=jobs, lengths=st.lists(st.integers(1, 60), min_size=1), prefix=st.integers(0, 20))
    def add(self, lengths: list[int], prefix: int) -> Job:
        """A job enters when it fits, as the scheduler does it."""
        one = job(*lengths, prefix=prefix)
        if self.waiting.fits(one.prompt.tokens):
            self.waiting.add(one)
            self.held[one] = []
        return one

    @precondition(lambda self: self.waiting.has_pending)
    @rule()
    def take(self) -> None:
        """A worker takes a step; there is one whenever something waits."""
        shares = self.waiting.take(self.limits)
        assert shares
        for share in shares:
            self.held[share.job].append(share)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        """A worker reports one share it took."""
        running = [share for shares in self.held.values() for share in shares]
        share = data.draw(st.sampled_from(running))
        self.held[share.job].remove(share)
        self.waiting.done(share)

    @rule(one=consumes(jobs))
    def cancel(self, one: Job) -> None:
        """A caller goes; exactly the rows that wait are dropped."""
        expected = len(one.pending) if one in self.held else 0
        if one in self.held:
            assert expected == self.waiting.cancel(one)

    @invariant()
    def tokens_are_those_of_the_jobs(self) -> None:
        """The queue holds what its jobs hold: pending and running rows, and the prefix."""
        held = [one for one in self.held if one.pending or self.held[one]]
        assert set(held) == set(self.waiting.jobs)
        for one in held:
            rows = one.pending_tokens + sum(share.tokens for share in self.held[one])
            assert rows + one.prefix_tokens <= one.reserved <= one.prompt.tokens
        assert sum(one.reserved for one in held) == self.waiting.tokens <= self.waiting.max_tokens

    @invariant()
    def running_rows_are_counted(self) -> None:
        """A job knows how many of its rows run."""
        for one, shares in self.held.items():
            assert sum(len(share.rows) for share in shares) == one.running

    def teardown(self) -> None:
        """When all has run, nothing is held any more."""
        for shares in self.held.values():
            for share in shares:
                self.waiting.done(share)
        for _ in run_all(self.waiting, self.limits):
            pass
        assert self.waiting.tokens == len(self.waiting.jobs) == 0


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)


# Priorities and deadlines


def test_a_lower_number_goes_first_however_late_it_came() -> None:
    """An urgent large job passes ordinary small ones."""
    waiting = queue()
    ordinary = [Job(prompt(60)) for _ in range(3)]
    urgent = Job(prompt(*[60] * 3), priority=-1)
    for one in (*ordinary, urgent):
        waiting.add(one)

    assert order_of_finish(waiting) == [urgent, *ordinary]


def test_an_endless_stream_of_urgent_jobs_does_not_starve_an_ordinary_one() -> None:
    """Every EQUAL_TURN-th step is given out without regard to priority."""
    waiting, ordinary = queue(), Job(prompt(60), priority=5)
    waiting.add(ordinary)
    steps = 0
    while not ordinary.finished:
        waiting.add(Job(prompt(60)))
        run_step(waiting)
        steps += 1

    assert steps == EQUAL_TURN


def test_priority_leaves_the_order_within_a_class_alone() -> None:
    """Among equals the smallest goes first, as without priorities."""
    waiting = queue()
    large, small = Job(prompt(60, 60), priority=2), Job(prompt(60), priority=2)
    for one in (large, small):
        waiting.add(one)

    assert order_of_finish(waiting) == [small, large]


@pytest.mark.parametrize(
    ("deadline", "rate", "is_late"),
    [
        (10.0, 0.0, False),  # nothing is known of the speed yet
        (9.0, 0.0, True),  # it has passed
        (12.0, 60.0, False),  # 120 tokens need exactly two seconds
        (11.9, 60.0, True),
        (float("inf"), 0.001, False),
    ],
)
def test_a_job_that_all_workers_could_not_do_in_time_is_late(
    deadline: float, rate: float, is_late: bool
) -> None:
    """Waiting tokens by the rate, from now on; unknown speed gives nobody up early."""
    waiting, one = queue(), Job(prompt(60, 60), deadline=deadline)
    waiting.add(one)

    assert (waiting.late(9.5 if deadline == 9.0 else 10.0, rate) == [one]) is is_late


def test_a_job_whose_last_rows_run_is_not_late() -> None:
    """What is being computed is not dropped: it is nearly there."""
    waiting, one = queue(), Job(prompt(60), deadline=1.0)
    waiting.add(one)
    waiting.take(WIDE)

    assert not waiting.late(2.0, 1.0)


def test_vectors_and_scores_fill_one_step() -> None:
    """A job whose rows are embedded shares steps with those that rank, and stays what it is."""
    queue = FairQueue(1000, 1)
    seen: list[Vector] = []
    ranking = Job(prompt(5, 6, prefix=3))
    embedding = Job(Prompt(NO_TOKENS, prompt(4, 7).rows, on_vector=lambda _, one: seen.append(one)))
    queue.add(ranking)
    queue.add(embedding)

    shares = {share.job: share for share in queue.take(WIDE)}

    assert shares.keys() == {ranking, embedding}
    assert shares[ranking].prompt.on_vector is None
    assert shares[embedding].prompt.on_vector is embedding.prompt.on_vector
