"""A server that sees, without llama.cpp: the tiny model's files, and scores made from colours."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rerankd.deployments.runtime import Opener
from rerankd.domain import Pixels, Prompt, StepLimits, TokenIds
from rerankd.families.qwen3_vl import QWEN3_VL
from rerankd.service import Service, build
from rerankd.settings import Settings
from rerankd.telemetry.observers import Telemetry

from support.fakes import FakeBackend, FakeTokenizer
from support.picture_checkpoint import write_pictured
from support.serving import FakeEngine, known_files, service_of

SEEING_MODEL = "tiny-vision"
"""The id under which the model is served."""
MARKS = (
    *("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<s>", "</s>", "[SEP]"),
)
SEEING_LIMITS = StepLimits(
    pair_tokens=1024, step_tokens=2048, step_rows=8, step_prefixes=4, cells=8192
)


def mean_colour(picture: Pixels) -> NDArray[np.float64]:
    """Return a picture's mean red, green and blue, from 0 to 1."""
    return np.asarray(picture.rgb.mean(axis=(0, 1), dtype=np.float64) / 255)


def colour_score(prompt: Prompt, row: TokenIds) -> float:
    """Score a row by its words, and by how much its pictures are red, or like the query's."""
    words = np.count_nonzero(row >= 0)
    asked = _seen(prompt, prompt.prefix)
    wanted = mean_colour(asked[0]) if asked else np.array([1.0, 0.0, 0.0])
    closeness = [1 - np.abs(mean_colour(one) - wanted).mean() for one in _seen(prompt, row)]
    return round(float(sum(closeness) + words / 16 - 1), 6)


def _seen(prompt: Prompt, ids: TokenIds) -> list[Pixels]:
    numbers = dict.fromkeys((-1 - ids[ids < 0]).tolist())
    return [prompt.pictures[number] for number in numbers]


class SeeingBackend(FakeBackend):
    """A fake backend that scores each row by `colour_score`."""

    def run(self, step: Sequence[Prompt]) -> list[list[float]]:
        """See `domain.Backend.run`."""
        super().run(step)
        return [[colour_score(part, row) for row in part.rows] for part in step]


class SeeingEngine(FakeEngine):
    """A fake engine whose model reads pictures."""

    def __init__(self, limits: StepLimits = SEEING_LIMITS) -> None:
        super().__init__(limits=limits)
        self.tokenizer = FakeTokenizer(controls=MARKS)
        self.backends = (SeeingBackend(limits=limits),)
        self.pictures = QWEN3_VL.pictures


@contextmanager
def seeing_files() -> Iterator[dict[str, Any]]:
    """Write the tiny model with its projector; yield the settings that serve it."""
    with tempfile.TemporaryDirectory() as folder:
        model, _ = write_pictured(Path(folder))
        with known_files(model):
            yield {"model": str(model), "model_id": SEEING_MODEL}


@contextmanager
def seeing_service(engine: SeeingEngine | None = None, **settings: Any) -> Iterator[Service]:
    """Yield a ready service over a fake engine that sees."""
    with seeing_files() as files:
        yield service_of(engine or SeeingEngine(), **(files | settings))


def opened_service(opener: Opener, **settings: Any) -> Service:
    """Return a ready service over a model that an opener opens."""
    service = build(Settings(**settings), opener, observer=Telemetry())
    asyncio.run(service.start())
    return service
