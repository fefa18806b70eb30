"""Causal rerankers: the prefix decoded once, its KV shared by all documents of a query.

Sequences 0 to `step_prefixes`-1 keep prefixes, also between steps, so that a template's fixed
part and a query still in the cache are not decoded again. Document rows take the sequences
above them and are dropped after the step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from rerankd.domain import NO_TOKENS, Prompt, StepLimits, TokenIds
from rerankd.engine.llama.context import LlamaContext
from rerankd.errors import EngineFailure


class _Row(Struct, frozen=True, eq=False):
    """A document's own tokens, the sequence they go to and the position they start at."""

    tokens: TokenIds
    sequence: int
    start: int


class CausalBackend:
    """Scores prompts by the answer at their last token."""

    def __init__(
        self,
        context: LlamaContext,
        limits: StepLimits,
        *,
        batch: int,
        answers: tuple[int, ...] = (),
        scale: float = 1.0,
    ) -> None:
        """Run steps in a context that decodes up to `batch` tokens at once.

        `answers` are the ids of one or two answers, the positive one first, whose logits are
        read; without them the outputs of the file's head are, a probability for each of two. A
        score is the logit, or the difference of both, times `scale`.
        """
        self._context = context
        self._limits = limits
        self._batch = batch
        self._answers = answers
        self._scale = scale
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
        except EngineFailure:
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
        if any(len(row) == 0 for row in rows):
            raise EngineFailure("a document without tokens")

    def _reset(self) -> None:
        """Start from an empty cache: after a failure its contents are unknown."""
        self._context.give_embeddings(False)
        self._context.forget_all()
        self._kept = [NO_TOKENS] * len(self._kept)

    # Prefixes

    def _place(self, step: Sequence[Prompt]) -> list[_Row]:
        """Get every prompt's prefix into the cache and share it with its rows' sequences."""
        slots = self._choose_slots(step)
        rows = [row for prompt in step for row in prompt.rows]
        self._make_room(step, slots, sum(len(row) for row in rows))
        # All before the first decode, which may need the cells of a slot that comes later.
        for prompt, slot in zip(step, slots, strict=True):
            self._trim(slot, prompt.prefix)
        placed: list[_Row] = []
        for prompt, slot in zip(step, slots, strict=True):
            self._decode_prefix(slot, prompt.prefix)
            for tokens in prompt.rows:
                sequence = self._limits.step_prefixes + len(placed)
                self._context.share(slot, sequence)
                placed.append(_Row(tokens, sequence, len(prompt.prefix)))
        return placed

    def _choose_slots(self, step: Sequence[Prompt]) -> list[int]:
        """Give each prompt the free slot that already holds most of its prefix."""
        slots: list[int] = []
        for prompt in step:
            free = [slot for slot in self._order if slot not in slots]
            # max keeps the first of equals: the least recently used slot.
            slot = max(free, key=lambda one: _common(self._kept[one], prompt.prefix))
            slots.append(slot)
        self._order = [slot for slot in self._order if slot not in slots] + slots
        return slots

    def _make_room(self, step: Sequence[Prompt], slots: Sequence[int], row_tokens: int) -> None:
        """Drop prefixes that this step doesn't use until the step fits, oldest first."""
        needed = row_tokens + sum(len(prompt.prefix) for prompt in step)
        for slot in [slot for slot in self._order if slot not in slots]:
            held = sum(len(self._kept[other]) for other in self._order if other not in slots)
            if needed + held <= self._limits.cells:
                return
            self._context.forget(slot)
            self._kept[slot] = NO_TOKENS

    def _trim(self, slot: int, prefix: TokenIds) -> None:
        """Keep of a slot only what it has in common with the prefix to come."""
        common = _common(self._kept[slot], prefix)
        if not self._context.trim(slot, common):
            self._context.forget(slot)
            common = 0
        self._kept[slot] = prefix[:common]

    def _decode_prefix(self, slot: int, prefix: TokenIds) -> None:
        common = len(self._kept[slot])
        if common < len(prefix):
            self._decode([_Row(prefix[common:], slot, common)], outputs=False)
        self._kept[slot] = prefix

    # Rows

    def _score(self, rows: Sequence[_Row]) -> list[float]:
        if self._answers:
            return self._decode(rows, outputs=True)
        # Rank pooling computes the vocabulary's logits for every token it is given: give it
        # the last tokens only.
        bodies = [
            _Row(row.tokens[:-1], row.sequence, row.start) for row in rows if len(row.tokens) > 1
        ]
        if bodies:
            self._decode(bodies, outputs=False)
        self._context.give_embeddings(True)
        self._context.decode(
            np.array([row.tokens[-1] for row in rows], dtype=np.int32),
            np.array([row.start + len(row.tokens) - 1 for row in rows], dtype=np.int32),
            np.array([row.sequence for row in rows], dtype=np.int32),
            np.ones(len(rows), dtype=np.int8),
        )
        pairs = [self._context.rank(row.sequence) for row in rows]
        self._context.give_embeddings(False)
        return [self._scale * log_odds(yes, no) for yes, no in pairs]

    def _decode(self, rows: Sequence[_Row], *, outputs: bool) -> list[float]:
        """Decode rows end to end in batches; with `outputs` return the score of each last token."""
        lengths = [len(row.tokens) for row in rows]
        tokens = np.concatenate([row.tokens for row in rows])
        positions = np.concatenate(
            [np.arange(row.start, row.start + len(row.tokens), dtype=np.int32) for row in rows]
        )
        sequences = np.repeat(np.array([row.sequence for row in rows], dtype=np.int32), lengths)
        marks = np.zeros(len(tokens), dtype=np.int8)
        if outputs:
            marks[np.cumsum(lengths) - 1] = 1
        scores: list[float] = []
        for start in range(0, len(tokens), self._batch):
            part = slice(start, start + self._batch)
            self._context.decode(tokens[part], positions[part], sequences[part], marks[part])
            for row in np.flatnonzero(marks[part]):
                positive, *negative = self._context.logits(int(row), self._answers)
                scores.append(self._scale * (positive - sum(negative)))
        return scores


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
