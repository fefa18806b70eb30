"""Whose work goes next: waiting jobs, their order and their admission, without threads.

The policy. Jobs run in the order in which they would finish if the engine were shared equally
among them. A virtual clock advances by tokens/jobs as tokens are decoded; a job that arrives
at virtual time V with s tokens gets the tag V + s, and the smallest tag goes first. A small
request thus passes a large one, and none starves: the clock reaches every tag in the end, and
from then on whatever arrives gets a larger one.

Priorities. Jobs of a lower number go first, whatever their tags; but every EQUAL_TURN-th step
is given out as if there were no priorities, so that those of a higher number wait long but not
for ever.

Deadlines. A job that could not be done in time even if it had all workers to itself is given
up before more is computed for it. A job `in_order` is worth what it has at its deadline: its rows
run as they are numbered, in steps that take at most a quarter of the time left, and it is given
up when not even its next row can be done in time.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from msgspec import Struct

from rerankd.domain import Prompt, StepLimits
from rerankd.scheduling.packing import plan

SMALLEST_STEP = 32
"""Tokens below which spreading work over workers costs more than it gains."""


EQUAL_TURN = 8
STEPS_LEFT = 4
"""Steps that should still fit before the deadline of a job whose parts count."""


class Job:
    """One request's rows on their way through the engine."""

    def __init__(
        self,
        prompt: Prompt,
        *,
        priority: int = 0,
        deadline: float = math.inf,
        in_order: bool = False,
    ) -> None:
        """`deadline` is a reading of the clock that `FairQueue.late` is asked with.

        With `in_order`, rows run as they are numbered, and count one by one.
        """
        self.prompt = prompt
        self.priority = priority
        self.deadline = deadline
        self.in_order = in_order
        self.tag = 0.0
        self.number = 0
        self.pending = [(cost, row) for row, cost in enumerate(prompt.row_costs)]
        if not in_order:
            self.pending.sort()
        self.pending_tokens = sum(cost for cost, _ in self.pending)
        self.running = 0
        self.scores = [0.0] * len(prompt.rows)
        self.missing = len(prompt.rows)
        self.reserved = prompt.tokens
        """Tokens this job still holds of the queue's limit."""
        self.wanted = True
        """Whether its caller still waits; read by engine threads without a lock."""

    @property
    def prefix_tokens(self) -> int:
        return len(self.prompt.prefix)

    @property
    def finished(self) -> bool:
        """Return whether nothing of it waits or runs."""
        return not self.pending and not self.running

    def fill(self, rows: Sequence[int], scores: Sequence[float]) -> tuple[float, ...] | None:
        """Write down scores of some rows; return all of them once none is missing."""
        for row, score in zip(rows, scores, strict=True):
            self.scores[row] = score
        self.missing -= len(rows)
        return None if self.missing else tuple(self.scores)


class Share(Struct, frozen=True, eq=False):
    """The part of a step that belongs to one job: row numbers in running order."""

    job: Job
    rows: tuple[int, ...]
    tokens: int
    """What it costs, in tokens of text."""

    @property
    def decoded_tokens(self) -> int:
        """Tokens of its rows that are decoded: encoding pictures is not among them."""
        whole, costs = self.job.prompt, self.job.prompt.row_costs
        return sum(min(costs[row], len(whole.rows[row])) for row in self.rows)

    @property
    def prompt(self) -> Prompt:
        """The rows as the engine takes them."""
        whole = self.job.prompt
        rows = tuple(whole.rows[row] for row in self.rows)
        if not whole.pictures:
            return Prompt(whole.prefix, rows, on_vector=whole.on_vector)
        return Prompt(
            whole.prefix,
            rows,
            pictures=whole.pictures,
            wanted=lambda: self.job.wanted,
            on_encoded=whole.on_encoded,
        )


class FairQueue:
    """Waiting and running jobs. Not thread-safe: the scheduler holds its lock around it."""

    def __init__(self, max_tokens: int, workers: int) -> None:
        self.max_tokens = max_tokens
        self.tokens = 0
        """Tokens reserved by all jobs that wait or run."""
        self._workers = workers
        self._running_tokens = 0
        self._jobs: list[Job] = []
        self._clock = 0.0
        self._arrivals = 0
        self._steps = 0

    @property
    def jobs(self) -> tuple[Job, ...]:
        return tuple(self._jobs)

    @property
    def has_pending(self) -> bool:
        return any(job.pending for job in self._jobs)

    def fits(self, tokens: int) -> bool:
        """Return whether a job of so many tokens may enter, whole."""
        return self.tokens + tokens <= self.max_tokens

    def add(self, job: Job) -> None:
        """Let a job in that `fits`, and give it its turn."""
        self._arrivals += 1
        job.number = self._arrivals
        job.tag = self._clock + job.prompt.tokens
        self.tokens += job.reserved
        self._jobs.append(job)
        self._jobs.sort(key=lambda one: (one.tag, one.number))

    def late(self, now: float, tokens_per_second: float) -> list[Job]:
        """Return the jobs with waiting rows that can't be done in time.

        That is, by all workers together; or by one of them, for the next row of a job in order.
        """
        return [
            job
            for job in self._jobs
            if job.pending
            and job.deadline < math.inf
            and now + self._least_seconds(job, tokens_per_second) > job.deadline
        ]

    def _least_seconds(self, job: Job, tokens_per_second: float) -> float:
        if not tokens_per_second:
            return 0.0
        if job.in_order:
            return job.pending[0][0] * self._workers / tokens_per_second
        return job.pending_tokens / tokens_per_second

    def take(
        self, limits: StepLimits, *, now: float = 0.0, tokens_per_second: float = 0.0
    ) -> tuple[Share, ...]:
        """Choose the next step and mark its rows as running; empty when nothing waits.

        `tokens_per_second` is what all workers do together, 0 where it isn't known yet.
        """
        waiting = [job for job in self._jobs if job.pending]
        if (self._steps + 1) % EQUAL_TURN:
            waiting.sort(key=lambda job: job.priority)  # stable: by tag within a priority
        # Little work is spread over the workers instead of filling one of them.
        unfinished = self._running_tokens + sum(job.pending_tokens for job in waiting)
        even_share = -(-unfinished // self._workers)
        budget = min(limits.step_tokens, max(SMALLEST_STEP, even_share))
        if waiting and waiting[0].in_order and waiting[0].deadline < math.inf:
            seconds = (waiting[0].deadline - now) / STEPS_LEFT
            budget = min(budget, max(1, int(seconds * tokens_per_second / self._workers)))
        shares = [
            _claim(waiting[picked.job], picked.rows)
            for picked in plan(waiting, limits, step_tokens=budget)
        ]
        if shares:
            self._steps += 1
            taken = sum(share.tokens for share in shares)
            self._running_tokens += taken
            self._clock += taken / len(self._jobs)
        return tuple(shares)

    def done(self, share: Share) -> None:
        """Take note that a share has run, whatever came of it."""
        share.job.running -= len(share.rows)
        self._running_tokens -= share.tokens
        self._release(share.job, share.tokens)
        self._leave_if_finished(share.job)

    def cancel(self, job: Job) -> int:
        """Drop what has not run of a job; return how many rows that were."""
        dropped = len(job.pending)
        self._release(job, job.pending_tokens)
        job.pending.clear()
        job.pending_tokens = 0
        self._leave_if_finished(job)
        return dropped

    def _release(self, job: Job, tokens: int) -> None:
        job.reserved -= tokens
        self.tokens -= tokens

    def _leave_if_finished(self, job: Job) -> None:
        if job.finished and job in self._jobs:
            self._release(job, job.reserved)
            self._jobs.remove(job)


def _claim(job: Job, rows: Sequence[tuple[int, int]]) -> Share:
    if job.in_order:
        del job.pending[: len(rows)]
    else:
        for entry in rows:
            del job.pending[bisect_left(job.pending, entry)]
    tokens = sum(cost for cost, _ in rows)
    job.pending_tokens -= tokens
    job.running += len(rows)
    return Share(job, tuple(row for _, row in rows), tokens)
