"""Encoder rerankers: many whole pairs packed into one decode, one score a sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rerankd.domain import Prompt, StepLimits
from rerankd.engine.computed_head import ComputedHead
from rerankd.engine.llama.context import LlamaContext
from rerankd.engine.llama.output_pages import OutputPages
from rerankd.engine.token_types import TokenTypeEmbedder
from rerankd.errors import EngineFailure


class EncoderBackend:
    """Scores pairs with a non-causal model and its rank head."""

    def __init__(
        self,
        context: LlamaContext,
        limits: StepLimits,
        *,
        tanh_head: bool = False,
        token_types: TokenTypeEmbedder | None = None,
        head: ComputedHead | None = None,
    ) -> None:
        """`tanh_head` says that the model's head squeezed its logit through tanh.

        `head` is computed from pooled hidden states, where llama.cpp doesn't compute it.

        `token_types` makes the input embeddings of a model with a token type for documents.
        """
        self._tanh_head = tanh_head
        self._token_types = token_types
        self._head = head
        self._context = context
        self._limits = limits
        self._pages = OutputPages(context)

    @property
    def limits(self) -> StepLimits:
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
            self._token_types.embed(rows) if self._token_types else None,
        )
        self._pages.release(len(tokens))
        scores = iter(self._logits(len(rows)))
        return [[next(scores) for _ in prompt.rows] for prompt in step]

    def _logits(self, sequences: int) -> list[float]:
        if self._head:
            return self._head.logits(self._context.pooled(sequences))
        found = [self._context.rank(sequence)[0] for sequence in range(sequences)]
        return [atanh_of(score) for score in found] if self._tanh_head else found

    def close(self) -> None:
        self._context.close()


def atanh_of(score: float) -> float:
    """Return the logit whose tanh a float32 `score` is; ±1 counts as the float32 beside it."""
    largest = 1 - 2.0**-24
    return math.atanh(max(-largest, min(largest, score)))
