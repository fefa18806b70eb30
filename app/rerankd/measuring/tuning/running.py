"""Running a model for some seconds, to see how many tokens it does."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from contextlib import closing

from rerankd.deployments.target import Target
from rerankd.domain import Backend, Prompt, StepFacts
from rerankd.engine import open_engine
from rerankd.engine.planning.sizing import Sizes
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.scheduling.scheduler import Scheduler
from rerankd.settings import Settings
from rerankd.sources.gguf import family_of

CLIENTS = 4
"""Requests that wait at a time during a measurement."""
DOCUMENT_WORDS = (15, 40, 80, 80, 120)
"""Words of each document of a request."""
SYLLABLES = ("ta", "re", "mo", "li", "sun", "ker", "va", "do", "nim", "est")


def workload(target: Target, settings: Settings) -> tuple[tuple[Prompt, ...], Sizes]:
    """Return requests of mixed lengths in ids, and the sizes the model has by default.

    Raises what opening the model raises.
    """
    family = family_of(target.header, target.verdict)
    engine = open_engine(target.header, target.verdict, settings)
    with closing(engine):
        layout = layout_for(family, target.header, engine.tokenizer)
        prompter = PromptBuilder(layout, engine.sizes.limits.pair_tokens)
        rng = random.Random(1)  # noqa: S311 - a workload, not a secret
        prompts = tuple(
            prompter.build(
                _random_text(rng, 8), tuple(_random_text(rng, words) for words in DOCUMENT_WORDS)
            ).prompt
            for _ in range(CLIENTS)
        )
        return prompts, engine.sizes


def _random_text(rng: random.Random, words: int) -> str:
    return " ".join("".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(words))


async def logits_of(backends: Sequence[Backend], prompt: Prompt) -> list[float]:
    """Return the logits of one request's rows."""
    scheduler = Scheduler(backends, max_tokens=prompt.tokens)
    try:
        return list((await scheduler.score(prompt)).scores)
    finally:
        await scheduler.close(0)


async def run_for(seconds: float, backends: Sequence[Backend], prompts: Sequence[Prompt]) -> float:
    """Keep the workers busy for some seconds, at least one step; return their tokens/s."""
    counted = _Counted()
    most = sum(prompt.tokens for prompt in prompts)
    scheduler = Scheduler(backends, max_tokens=most, on_step=counted.add)

    async def client(prompt: Prompt) -> None:
        while True:
            await scheduler.score(prompt)

    try:
        await scheduler.score(Prompt(prompts[0].prefix, prompts[0].rows[:1]))  # warm
        counted.begin()
        clients = [asyncio.create_task(client(prompt)) for prompt in prompts]
        await asyncio.wait(clients, timeout=seconds)
        while not counted.tokens:  # a large model's first step may take longer
            await asyncio.wait(clients, timeout=seconds)
        rate = counted.rate
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        return rate
    finally:
        await scheduler.close(0)


class _Counted:
    """Tokens of the steps that ended since `begin`, over the time up to the last of them."""

    def __init__(self) -> None:
        self.tokens = 0
        self._begun = self._last = 0.0
        self._lock = threading.Lock()

    def begin(self) -> None:
        with self._lock:
            self.tokens = 0
            self._begun = self._last = time.monotonic()

    def add(self, step: StepFacts) -> None:
        """Take note of a step, from the thread that ran it."""
        with self._lock:
            self.tokens += step.tokens
            self._last = time.monotonic()

    @property
    def rate(self) -> float:
        with self._lock:
            return self.tokens / max(self._last - self._begun, 1e-9)
