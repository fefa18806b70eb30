"""The bounded pool: admission in tokens, one thread a backend, answers to the event loop.

What runs next is `fair_queue`'s decision; this room owns the lock, the threads and the futures.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from rerankd.domain import Backend, Prompt, StepFacts, StepLimits
from rerankd.errors import (
    DeadlineExceeded,
    EngineFailure,
    QueueFull,
    RerankdError,
    ShuttingDown,
    TooManyTokens,
)
from rerankd.scheduling.fair_queue import FairQueue, Job, Share
from rerankd.scheduling.steps import facts_of_step, run_step
from rerankd.scheduling.tickets import Load, OnRows, ScoredRows, Ticket
from rerankd.threads import run_apart, step_back

logger = logging.getLogger(__name__)

LONGEST_RETRY = 60
LAST_STEP_SECONDS = 30.0
"""What a step in hand gets to end when the scheduler closes."""
RATE_SECONDS = 20.0
"""Busy seconds after which what was measured before counts half."""


class Scheduler:
    """Runs prompts on a fixed number of backends, each in a thread of its own."""

    def __init__(
        self,
        backends: Sequence[Backend],
        *,
        max_tokens: int,
        clock: Callable[[], float] = time.monotonic,
        on_step: Callable[[StepFacts], None] | None = None,
    ) -> None:
        """`max_tokens` is what may wait and run at once; the threads start at once.

        `on_step` is called for every step, in the thread that ran it.
        """
        self._on_step = on_step
        self._queue = FairQueue(max_tokens, len(backends))
        self._tickets: dict[Job, Ticket] = {}
        self._changed = threading.Condition()
        self._clock = clock
        self._closed = False
        self._stopped = False
        self._done_tokens = 0.0
        self._busy_seconds = 0.0
        self._threads = [
            threading.Thread(target=self._work, args=(backend,), name=f"engine-{number}")
            for number, backend in enumerate(backends)
        ]
        for thread in self._threads:
            thread.daemon = True  # a decode that never ends must not keep the process alive
            thread.start()

    @property
    def load(self) -> Load:
        with self._changed:
            return Load(len(self._tickets), self._queue.tokens, self._rate())

    async def score(
        self,
        prompt: Prompt,
        *,
        priority: int = 0,
        deadline: float = math.inf,
        in_order: bool = False,
        on_rows: OnRows | None = None,
    ) -> ScoredRows:
        """Return the logits of all rows; `on_rows` gets them as they are computed.

        With `in_order`, rows run as they are numbered, as many as the deadline allows.

        Raises QueueFull at once when the whole prompt doesn't fit the token limit, TooManyTokens
        when it never could, DeadlineExceeded when the clock passes `deadline` or surely will,
        ShuttingDown after `close` began, EngineFailure when the engine failed on it. When the
        awaiting task is cancelled, rows that have not run are dropped.
        """
        if not prompt.rows:
            return ScoredRows((), 0.0, 0.0)
        ticket = Ticket(asyncio.get_running_loop(), self._clock(), on_rows)
        job = Job(prompt, priority=priority, deadline=deadline, in_order=in_order)
        self._admit(job, ticket)
        patience = None if math.isinf(deadline) else max(0.0, deadline - self._clock())
        try:
            async with asyncio.timeout(patience):
                scores = await ticket.future
        except TimeoutError as error:
            raise _too_late() from error
        except RerankdError:
            del ticket  # it holds the error, whose traceback holds this frame
            raise
        finally:
            self._leave(job)
        started = ticket.submitted if ticket.started is None else ticket.started
        return ScoredRows(scores, started - ticket.submitted, self._clock() - started)

    async def close(self, seconds: float) -> bool:
        """Take no new work, give running work up to `seconds`, then fail the rest and stop.

        Return whether all threads ended: a backend whose thread still runs must not be freed.
        """
        with self._changed:
            self._closed = True
            futures = [ticket.future for ticket in self._tickets.values()]
        if futures:
            await asyncio.wait(futures, timeout=seconds)
        self.abort()
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        return await run_apart("engine-end", self._join)

    def abort(self) -> None:
        """Take no new work and fail all there is with ShuttingDown, but for steps that run."""
        with self._changed:
            self._closed = True
            for job, ticket in self._tickets.items():
                self._queue.cancel(job)
                ticket.resolve(ShuttingDown("the server stopped before this request finished"))

    def _join(self) -> bool:
        for thread in self._threads:
            thread.join(LAST_STEP_SECONDS)
        return not any(thread.is_alive() for thread in self._threads)

    # Event loop side

    def _admit(self, job: Job, ticket: Ticket) -> None:
        prompt = job.prompt
        with self._changed:
            if self._closed:
                raise ShuttingDown("the server is stopping", retry_after=1)
            if prompt.tokens > self._queue.max_tokens:
                raise TooManyTokens(
                    f"the request {_counted(prompt)}; the queue holds "
                    f"{self._queue.max_tokens} (max_queue_tokens)",
                    param="documents",
                )
            if not self._queue.fits(prompt.tokens):
                raise QueueFull(
                    f"{self._queue.tokens} tokens are waiting; the limit is "
                    f"{self._queue.max_tokens} (max_queue_tokens); try again later",
                    retry_after=self._retry_after(),
                )
            self._queue.add(job)
            self._tickets[job] = ticket
            self._give_up_late()
            self._changed.notify_all()

    def _give_up_late(self) -> None:
        for job in self._queue.late(self._clock(), self._rate()):
            self._queue.cancel(job)
            ticket = self._tickets.get(job)
            if ticket and not (job.in_order and job.running):  # those rows still count
                ticket.resolve(_too_late())

    def _leave(self, job: Job) -> None:
        with self._changed:
            job.wanted = False
            self._queue.cancel(job)
            self._tickets.pop(job, None)

    def _retry_after(self) -> int:
        rate = self._rate()
        seconds = self._queue.tokens / rate if rate else 1.0
        return max(1, min(LONGEST_RETRY, math.ceil(seconds)))

    def _rate(self) -> float:
        if not self._busy_seconds:
            return 0.0
        return self._done_tokens / self._busy_seconds * len(self._threads)

    # Engine threads

    def _work(self, backend: Backend) -> None:
        step_back()
        while shares := self._next(backend.limits):
            begun = self._clock()
            outcomes = run_step(backend, shares)
            spent = self._clock() - begun
            self._settle(shares, outcomes, spent)
            if self._on_step:
                self._on_step(facts_of_step(shares, backend.limits, spent))

    def _next(self, limits: StepLimits) -> tuple[Share, ...]:
        """Wait for work; empty means stop."""
        with self._changed:
            while not self._stopped:
                self._give_up_late()
                now = self._clock()
                shares = self._queue.take(limits, now=now, tokens_per_second=self._rate())
                if shares:
                    for share in shares:
                        ticket = self._tickets.get(share.job)
                        if ticket and ticket.started is None:
                            ticket.started = now
                    return shares
                self._changed.wait()
        return ()

    def _settle(
        self, shares: Sequence[Share], outcomes: Sequence[list[float] | EngineFailure], spent: float
    ) -> None:
        with self._changed:
            if self._busy_seconds > RATE_SECONDS:
                self._busy_seconds /= 2
                self._done_tokens /= 2
            self._busy_seconds += spent
            for share, outcome in zip(shares, outcomes, strict=True):
                self._done_tokens += share.tokens
                self._queue.done(share)
                ticket = self._tickets.get(share.job)
                if isinstance(outcome, EngineFailure):
                    self._queue.cancel(share.job)
                    answer: tuple[float, ...] | RerankdError | None = outcome
                else:
                    answer = share.job.fill(share.rows, outcome)
                    if ticket:
                        ticket.report(share.rows, outcome)
                    if answer is None and share.job.finished:
                        answer = _too_late()  # the rest was given up while this ran
                if ticket and answer is not None:
                    ticket.resolve(answer)


def _counted(prompt: Prompt) -> str:
    if not prompt.pictures:
        return f"has {prompt.tokens} tokens"
    return f"counts as {prompt.tokens} tokens, with what encoding its pictures takes"


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("not all documents can be scored in the allowed time")
