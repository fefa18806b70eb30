"""Causal rerankers: the prefix decoded once, its KV shared by all documents of a query.

Sequences 0 to `step_prefixes`-1 keep prefixes, also between steps, so that a template's fixed
part and a query still in the cache are not decoded again. Document rows take the sequences
above them and are dropped after the step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rerankd.domain import NO_TOKENS, GivenUp, Prompt, StepLimits, TokenIds
from rerankd.engine.backends.row_decoder import CausalRow, RowDecoder
from rerankd.engine.backends.segments import (
    PictureNumbers,
    Segment,
    position_after,
    segments_of,
)
from rerankd.engine.llama.context import LlamaContext
from rerankd.engine.picture_encoder import TEXT_ONLY, PictureEncoder
from rerankd.errors import EngineFailure


class CausalBackend:
    """Scores prompts by the answer at their last token."""

    def __init__(  # noqa: PLR0913 - a context, and how it is read
        self,
        context: LlamaContext,
        limits: StepLimits,
        *,
        batch: int,
        answers: tuple[int, ...] = (),
        scale: float = 1.0,
        encoder: PictureEncoder | None = None,
    ) -> None:
        """Run steps in a context that decodes up to `batch` tokens at once.

        `answers` are the ids of one or two answers, the positive one first, whose logits are
        read; without them the outputs of the file's head are, a probability for each of two. A
        score is the logit, or the difference of both, times `scale`. `encoder` makes the
        embeddings of pictures, for a model that sees them.
        """
        self._context = context
        self._limits = limits
        self._answers = answers
        self._scale = scale
        self._grid = encoder.grid if encoder else TEXT_ONLY
        self._rows = RowDecoder(context, batch=batch, answers=answers, scale=scale, encoder=encoder)
        self._numbers = PictureNumbers()
        self._kept: list[TokenIds] = [NO_TOKENS] * limits.step_prefixes
        self._order: list[int] = list(range(limits.step_prefixes))  # least recently used first
        context.give_embeddings(False)

    @property
    def limits(self) -> StepLimits:
        return self._limits

    def run(self, step: Sequence[Prompt]) -> list[list[float]]:
        """Return one logit a row. See `domain.Backend.run`."""
        self._check(step)
        try:
            rows = self._place(step)
            scores = self._score(rows)
            for row in rows:
                self._context.forget(row.sequence)
            self._numbers.keep_only(self._kept)
        except (EngineFailure, GivenUp):
            self._reset()
            raise
        found = iter(scores)
        return [[next(found) for _ in prompt.rows] for prompt in step]

    def close(self) -> None:
        self._context.close()

    def _check(self, step: Sequence[Prompt]) -> None:
        rows = [row for prompt in step for row in prompt.rows]
        cells = sum(len(prompt.prefix) for prompt in step) + sum(len(row) for row in rows)
        if len(step) > self._limits.step_prefixes or len(rows) > self._limits.step_rows:
            raise EngineFailure("more prefixes or documents than a step takes")
        if cells > self._limits.cells:
            raise EngineFailure(f"{cells} tokens for {self._limits.cells} cells of KV cache")
        if any(len(row) == 0 or row[-1] < 0 for row in rows):
            raise EngineFailure("a document without tokens, or that ends in a picture")

    def _reset(self) -> None:
        """Start from an empty cache: after a failure its contents are unknown."""
        self._context.give_embeddings(False)
        self._context.forget_all()
        self._kept = [NO_TOKENS] * len(self._kept)

    # Prefixes

    def _place(self, step: Sequence[Prompt]) -> list[CausalRow]:
        """Get every prompt's prefix into the cache and share it with its rows' sequences."""
        prefixes = [self._numbers.renumbered(one.prefix, one.pictures) for one in step]
        slots = self._choose_slots(prefixes)
        self._make_room(prefixes, slots, sum(len(row) for prompt in step for row in prompt.rows))
        # All before the first decode, which may need the cells of a slot that comes later.
        for prompt, slot, prefix in zip(step, slots, prefixes, strict=True):
            self._trim(slot, prompt, prefix)
        placed: list[CausalRow] = []
        for prompt, slot, prefix in zip(step, slots, prefixes, strict=True):
            self._decode_prefix(slot, prompt, prefix)
            start = position_after(prompt.prefix, prompt.pictures, self._grid)
            for ids in prompt.rows:
                sequence = self._limits.step_prefixes + len(placed)
                self._context.share(slot, sequence)
                segments = segments_of(ids, prompt.pictures, self._grid, start)
                placed.append(_row_of(prompt, segments, sequence))
        return placed

    def _choose_slots(self, prefixes: Sequence[TokenIds]) -> list[int]:
        """Give each prefix the free slot that already holds most of it."""
        slots: list[int] = []
        for prefix in prefixes:
            free = [slot for slot in self._order if slot not in slots]
            # max keeps the first of equals: the least recently used slot.
            slot = max(free, key=lambda one: _common(self._kept[one], prefix))
            slots.append(slot)
        self._order = [slot for slot in self._order if slot not in slots] + slots
        return slots

    def _make_room(
        self, prefixes: Sequence[TokenIds], slots: Sequence[int], row_tokens: int
    ) -> None:
        """Drop prefixes that this step doesn't use until the step fits, oldest first."""
        needed = row_tokens + sum(map(len, prefixes))
        for slot in [slot for slot in self._order if slot not in slots]:
            held = sum(len(self._kept[other]) for other in self._order if other not in slots)
            if needed + held <= self._limits.cells:
                return
            self._context.forget(slot)
            self._kept[slot] = NO_TOKENS

    def _trim(self, slot: int, prompt: Prompt, prefix: TokenIds) -> None:
        """Keep of a slot only what it has in common with the prefix to come."""
        common = _common(self._kept[slot], prefix)
        start = position_after(prompt.prefix[:common], prompt.pictures, self._grid)
        if not self._context.trim(slot, start):
            self._context.forget(slot)
            common = 0
        self._kept[slot] = prefix[:common]

    def _decode_prefix(self, slot: int, prompt: Prompt, prefix: TokenIds) -> None:
        """Decode what a slot lacks of a prompt's prefix; `prefix` has lasting picture numbers."""
        common = len(self._kept[slot])
        if common < len(prefix):
            start = position_after(prompt.prefix[:common], prompt.pictures, self._grid)
            missing = segments_of(prompt.prefix[common:], prompt.pictures, self._grid, start)
            self._rows.decode([_row_of(prompt, missing, slot)], outputs=False)
        self._kept[slot] = prefix

    # Rows

    def _score(self, rows: Sequence[CausalRow]) -> list[float]:
        if self._answers:
            return self._rows.decode(rows, outputs=True)
        # Rank pooling computes the vocabulary's logits for every token it is given: give it
        # the last tokens only.
        self._rows.decode([row.without_last_token() for row in rows], outputs=False)
        ends = [row.last for row in rows]
        self._context.give_embeddings(True)
        self._context.decode(
            np.array([end.tokens[-1] for end in ends], dtype=np.int32),
            np.array([end.start + len(end.tokens) - 1 for end in ends], dtype=np.int32),
            np.array([row.sequence for row in rows], dtype=np.int32),
            np.ones(len(rows), dtype=np.int8),
        )
        pairs = [self._context.rank(row.sequence) for row in rows]
        self._context.give_embeddings(False)
        return [self._scale * log_odds(yes, no) for yes, no in pairs]


def _row_of(prompt: Prompt, segments: tuple[Segment, ...], sequence: int) -> CausalRow:
    return CausalRow(segments, sequence, prompt.wanted, prompt.on_encoded)


def _common(left: TokenIds, right: TokenIds) -> int:
    """Return how many tokens two arrays share at their start."""
    length = min(len(left), len(right))
    differ = np.flatnonzero(left[:length] != right[:length])
    return int(differ[0]) if len(differ) else length


def log_odds(yes: float, no: float) -> float:
    """Return ln(yes/no) of two float32 probabilities; NaN stays NaN.

    A probability that float32 rounded to 0 counts as its smallest value, so the result
    saturates near ±103 instead of being infinite.
    """
    smallest = 2.0**-149
    if math.isnan(yes) or math.isnan(no):
        return math.nan
    return math.log(max(yes, smallest)) - math.log(max(no, smallest))
