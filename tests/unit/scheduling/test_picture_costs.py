"""Encoding pictures counts as the tokens of text that take as long."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from msgspec import structs

from rerankd.domain import Pixels, Prompt, StepFacts, StepLimits
from rerankd.errors import QueueFull, TooManyTokens
from rerankd.scheduling.fair_queue import FairQueue, Job
from rerankd.scheduling.scheduler import Scheduler

from support.fakes import PATIENCE, FakeBackend, Gate, prompt

PICTURE = Pixels(np.zeros((32, 32, 3), np.uint8), b"one")
WIDE = StepLimits(pair_tokens=64, step_tokens=64, step_rows=64, step_prefixes=64, cells=4096)


def pictured(*lengths: int, encoding: int) -> Prompt:
    """Return a prompt whose first row also has pictures to be encoded."""
    costs = tuple(length + encoding * (row == 0) for row, length in enumerate(lengths))
    return structs.replace(prompt(*lengths), costs=costs, pictures=(PICTURE,))


def order_of(*jobs: Job) -> list[Job]:
    """Return jobs in the order in which they end, each step as small as it can be."""
    queue = FairQueue(1_000_000, 1)
    for job in jobs:
        queue.add(job)
    ended = []
    while shares := queue.take(structs.replace(WIDE, step_tokens=1)):
        for share in shares:
            queue.done(share)
            ended += [share.job] if share.job.finished else []
    return ended


def test_pictures_to_be_encoded_go_behind_texts_of_fewer_tokens() -> None:
    """By their tokens alone they would be first."""
    pictures, texts = Job(pictured(30, encoding=300)), Job(prompt(40, 40))
    assert order_of(pictures, texts) == [texts, pictures]


def test_known_pictures_are_as_quick_as_their_tokens() -> None:
    pictures, texts = Job(pictured(30, encoding=0)), Job(prompt(40, 40))
    assert order_of(texts, pictures) == [pictures, texts]


def test_a_step_takes_few_pictures_that_are_to_be_encoded() -> None:
    """So that others needn't wait for all of them; what is left over is small."""
    queue = FairQueue(1_000_000, 1)
    costs = [20] * 10
    job = Job(structs.replace(prompt(*[4] * 10), costs=tuple(costs), pictures=(PICTURE,)))
    queue.add(job)
    (share,) = queue.take(WIDE)
    assert (len(share.rows), share.tokens, share.decoded_tokens) == (3, 60, 12)


def test_a_deadline_counts_what_encoding_takes() -> None:
    """At ten tokens a second, thirty tokens would be in time and three hundred are not."""
    queue = FairQueue(1_000_000, 1)
    late = Job(pictured(30, encoding=270), deadline=10.0)
    known = Job(pictured(30, encoding=0), deadline=10.0)
    for job in (late, known):
        queue.add(job)
    assert queue.late(0.0, 10.0) == [late]


def test_accounts_are_even_when_all_is_done() -> None:
    """Whatever pictures cost, and whether they ran or were dropped."""
    queue = FairQueue(1_000_000, 2)
    ran, dropped = Job(pictured(3, 4, encoding=50)), Job(pictured(5, encoding=70))
    for job in (ran, dropped):
        queue.add(job)
    assert queue.tokens == 7 + 50 + 5 + 70
    queue.cancel(dropped)
    while shares := queue.take(WIDE):
        for share in shares:
            queue.done(share)
    assert (queue.tokens, queue.jobs) == (0, ())


def test_the_queue_is_full_by_what_pictures_take() -> None:
    """A request that could never enter says why it counts so much."""

    async def test() -> None:
        gate = Gate()
        scheduler = Scheduler([FakeBackend(gate=gate)], max_tokens=100)
        running = asyncio.create_task(scheduler.score(pictured(10, encoding=60)))
        await asyncio.to_thread(gate.await_step)
        with pytest.raises(QueueFull, match="70 tokens are waiting"):
            await scheduler.score(pictured(10, encoding=60))
        with pytest.raises(TooManyTokens, match="counts as 110 tokens, with what encoding"):
            await scheduler.score(pictured(10, encoding=100))
        gate.open()
        assert len((await running).scores) == 1
        assert await scheduler.close(PATIENCE)

    asyncio.run(asyncio.wait_for(test(), 3 * PATIENCE))


def test_steps_report_the_tokens_they_decode() -> None:
    """Not what encoding counts as."""
    steps: list[StepFacts] = []

    async def test() -> None:
        scheduler = Scheduler([FakeBackend()], max_tokens=1000, on_step=steps.append)
        await scheduler.score(pictured(10, 5, encoding=60))
        assert await scheduler.close(PATIENCE)

    asyncio.run(asyncio.wait_for(test(), 3 * PATIENCE))
    assert sum(step.tokens for step in steps) == 15
