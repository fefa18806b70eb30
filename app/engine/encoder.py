"""Encoder rerankers: many whole pairs packed into one decode, one score a sequence."""

from __future__ import annotations

import ctypes
import math
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np

from app.domain import Limits, Prompt
from app.engine.llama import Context
from app.engine.segments import SegmentEmbedder
from app.errors import EngineFailure


def _find_madvise() -> Any:
    if not hasattr(mmap, "MADV_DONTNEED"):
        return None
    found = ctypes.CDLL(None).madvise
    found.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return found


_madvise = _find_madvise()


class EncoderBackend:
    """Scores pairs with a non-causal model and its rank head."""

    def __init__(
        self,
        context: Context,
        limits: Limits,
        *,
        tanh_head: bool = False,
        segments: SegmentEmbedder | None = None,
    ) -> None:
        """`tanh_head` says that the model's head squeezed its logit through tanh.

        `segments` makes the input embeddings of a model that tells query and document apart.
        """
        self._tanh_head = tanh_head
        self._segments = segments
        self._context = context
        self._limits = limits
        self._released = 0
        self._release_logits(0)

    @property
    def limits(self) -> Limits:
        return self._limits

    def run(self, step: Sequence[Prompt]) -> list[list[float]]:
        """Return one logit a row, in one decode. See `domain.Backend.run`."""
        rows = [row for prompt in step for row in prompt.rows]
        if len(rows) > self._limits.step_rows:
            raise EngineFailure(f"{len(rows)} documents in a step of {self._limits.step_rows}")
        if any(len(row) == 0 for row in rows):
            raise EngineFailure("a document without tokens")
        lengths = [len(row) for row in rows]
        if sum(lengths) > self._context.batch:  # before embeddings of that many are made
            raise EngineFailure(f"{sum(lengths)} tokens for a batch of {self._context.batch}")
        tokens = np.concatenate(rows)
        self._context.decode(
            tokens,
            np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
            np.repeat(np.arange(len(rows), dtype=np.int32), lengths),
            np.ones(len(tokens), dtype=np.int8),
            self._segments.embed(rows) if self._segments else None,
        )
        self._release_logits(len(tokens))
        found = [self._context.rank(sequence)[0] for sequence in range(len(rows))]
        scores = iter([unsqueeze(score) for score in found] if self._tanh_head else found)
        return [[next(scores) for _ in prompt.rows] for prompt in step]

    def close(self) -> None:
        self._context.close()

    def _release_logits(self, tokens: int) -> None:
        """Give back the memory of an output buffer that pooled encoders never write to.

        llama.cpp reserves and zeroes a vocabulary's width of floats for each of the `tokens`
        decoded, 120 KB a token for 30,000 entries, and reads none of it where scores are
        pooled from an encoder. The pages come back as zeros if anything ever looks.
        """
        start, size = self._context.logits_buffer(tokens)
        if size <= self._released or _madvise is None:
            return
        self._released = size
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        pages = (start + size - first) // mmap.PAGESIZE
        if pages > 0:
            _madvise(first, pages * mmap.PAGESIZE, mmap.MADV_DONTNEED)


def unsqueeze(score: float) -> float:
    """Return the logit whose tanh a float32 `score` is; ±1 counts as the float32 beside it."""
    largest = 1 - 2.0**-24
    return math.atanh(max(-largest, min(largest, score)))
