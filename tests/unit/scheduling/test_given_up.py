"""Requests with pictures whose callers have gone: engines are told, and others aren't disturbed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest
from msgspec import structs

from rerankd.domain import GivenUp, Pixels, Prompt, StepLimits
from rerankd.errors import DeadlineExceeded
from rerankd.scheduling.fair_queue import Job, Share
from rerankd.scheduling.scheduler import Scheduler
from rerankd.scheduling.steps import run_step

from support.fakes import LIMITS, PATIENCE, FakeBackend, Gate, prompt

PICTURE = Pixels(np.zeros((32, 32, 3), np.uint8), b"one")


def pictured(*lengths: int, first: int = 100) -> Prompt:
    return structs.replace(prompt(*lengths, first=first), pictures=(PICTURE,))


class Encoding:
    """A backend that encodes a picture for each prompt that is still wanted."""

    limits: StepLimits = LIMITS

    def __init__(self) -> None:
        self.steps: list[int] = []

    def run(self, step: Sequence[Prompt]) -> list[list[float]]:
        self.steps.append(len(step))
        if any(one.wanted and not one.wanted() for one in step):
            raise GivenUp("gone")
        return [[1.0 for _ in one.rows] for one in step]

    def close(self) -> None: ...


def share_of(job: Job) -> Share:
    return Share(job, tuple(range(len(job.prompt.rows))), job.pending_tokens)


def test_a_share_has_its_request_s_pictures() -> None:
    """Rows refer to them by number, whichever rows go."""
    job = Job(pictured(3, 4, 5))
    part = Share(job, (2, 0), 8).prompt
    assert part.pictures == (PICTURE,)
    assert [len(row) for row in part.rows] == [5, 3]
    assert part.wanted
    assert part.wanted()
    assert Share(Job(prompt(3)), (0,), 3).prompt.wanted is None


def test_a_share_tells_its_request_what_encoding_takes() -> None:
    spent: list[float] = []
    whole = structs.replace(pictured(3), on_encoded=spent.append)
    part = Share(Job(whole), (0,), 3).prompt
    assert part.on_encoded
    part.on_encoded(1.5)
    assert spent == [1.5]


def test_only_the_request_that_is_given_up_ends() -> None:
    """Others of its step are run again, each by itself."""
    gone, wanted = Job(pictured(3)), Job(pictured(4))
    gone.wanted = False
    backend = Encoding()
    failed, scored = run_step(backend, [share_of(gone), share_of(wanted)])
    assert (str(failed), scored) == ("gone", [1.0])
    assert backend.steps == [2, 1, 1]


def test_a_caller_that_leaves_is_no_longer_waited_for() -> None:
    """The step that runs can see it between two pictures."""

    async def test() -> None:
        gate = Gate()
        backend = FakeBackend(gate=gate)
        scheduler = Scheduler([backend], max_tokens=1000)
        waiting = asyncio.create_task(scheduler.score(pictured(3)))
        await asyncio.to_thread(gate.await_step)
        wanted = backend.steps[0][0].wanted
        assert wanted
        assert wanted()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert not wanted()
        gate.open()
        assert await scheduler.close(PATIENCE)

    asyncio.run(asyncio.wait_for(test(), 3 * PATIENCE))


def test_a_deadline_ends_what_a_step_still_encodes() -> None:
    """It passes while the step runs, which is told; the thread is free for others then."""

    async def test() -> None:
        gate = Gate()
        backend = FakeBackend(gate=gate)
        scheduler = Scheduler([backend], max_tokens=1000)
        late = asyncio.create_task(scheduler.score(pictured(3), deadline=time.monotonic() + 3600))
        await asyncio.to_thread(gate.await_step)
        wanted = backend.steps[0][0].wanted
        assert wanted
        assert wanted()
        (job,) = scheduler._tickets
        scheduler._tickets[job].resolve(DeadlineExceeded("as the clock would"))
        with pytest.raises(DeadlineExceeded):
            await late
        assert not wanted()
        gate.open()
        assert (await scheduler.score(prompt(2))).scores
        assert await scheduler.close(PATIENCE)

    asyncio.run(asyncio.wait_for(test(), 3 * PATIENCE))
