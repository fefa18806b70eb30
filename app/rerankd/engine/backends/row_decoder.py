"""Rows decoded end to end in batches: texts by their ids, pictures by their embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct, structs

from rerankd.domain import GivenUp, OnEncoded, TokenIds, Wanted
from rerankd.engine.backends.segments import Segment
from rerankd.engine.llama.context import LlamaContext
from rerankd.engine.picture_encoder import PictureEncoder
from rerankd.errors import EngineFailure


class CausalRow(Struct, frozen=True, eq=False):
    """A document's own part of a pair, or a prefix, and the sequence it goes to."""

    segments: tuple[Segment, ...]
    sequence: int
    wanted: Wanted | None = None
    """Whether somebody still waits for it."""
    on_encoded: OnEncoded | None = None

    @property
    def last(self) -> Segment:
        return self.segments[-1]

    def without_last_token(self) -> CausalRow:
        """Return the row but for the last token of its last text."""
        last = structs.replace(self.last, tokens=self.last.tokens[:-1])
        return structs.replace(self, segments=(*self.segments[:-1], last))


class RowDecoder:
    """Decodes the rows of one context.

    llama.cpp takes a batch of ids or one of embeddings, so the rows of a step advance together:
    all their first texts in as few batches as hold them, then the pictures behind those, then the
    next texts. Each picture is decoded by itself, whatever else is in the step.
    """

    def __init__(
        self,
        context: LlamaContext,
        *,
        batch: int,
        answers: tuple[int, ...],
        scale: float,
        encoder: PictureEncoder | None = None,
    ) -> None:
        """Read `answers` and `scale` as `CausalBackend` does; `encoder` is for pictures."""
        self._context = context
        self._batch = batch
        self._answers = answers
        self._scale = scale
        self._encoder = encoder

    def decode(self, rows: Sequence[CausalRow], *, outputs: bool) -> list[float]:
        """Decode rows; with `outputs` return the score of each one's last token.

        Raises GivenUp at the picture of a row that nobody waits for any more.
        """
        scores = dict.fromkeys(range(len(rows)), 0.0)
        for level in range(max((len(row.segments) for row in rows), default=0)):
            here = [number for number, row in enumerate(rows) if level < len(row.segments)]
            self._decode_pictures([rows[number] for number in here], level)
            texts = [number for number in here if rows[number].segments[level].picture is None]
            ending = [number for number in texts if level + 1 == len(rows[number].segments)]
            found = self._decode_texts(
                [(rows[number].segments[level], rows[number].sequence) for number in texts],
                [outputs and number in ending for number in texts],
            )
            scores |= dict(zip(ending, found, strict=False))
        return [scores[number] for number in range(len(rows))] if outputs else []

    def _decode_pictures(self, rows: Sequence[CausalRow], level: int) -> None:
        for row in rows:
            segment = row.segments[level]
            if segment.picture is None:
                continue
            if row.wanted and not row.wanted():
                raise GivenUp("nobody waits for these pictures any more")
            self._decode_picture(segment, row)

    def _decode_picture(self, segment: Segment, row: CausalRow) -> None:
        if self._encoder is None or segment.picture is None:
            raise EngineFailure("a picture for a model that reads text only")
        inputs = self._encoder.embeddings(segment.picture, row.wanted, row.on_encoded)
        positions = self._encoder.grid.positions(segment.picture, segment.start)
        if len(inputs) != len(segment.tokens) or positions.shape[1] != len(inputs):
            raise EngineFailure("a picture has another number of tokens than its place in the row")
        for start in range(0, len(inputs), self._batch):
            part = slice(start, start + self._batch)
            self._context.decode_embedded(inputs[part], positions[:, part], row.sequence)

    def _decode_texts(
        self, texts: Sequence[tuple[Segment, int]], outputs: Sequence[bool]
    ) -> list[float]:
        """Decode texts of sequences; return the scores of the last tokens of those in `outputs`."""
        lengths = [len(text.tokens) for text, _ in texts]
        if not sum(lengths):
            return []
        tokens = np.concatenate([text.tokens for text, _ in texts])
        positions = np.concatenate([_positions(text) for text, _ in texts])
        sequences = np.repeat(np.array([one for _, one in texts], dtype=np.int32), lengths)
        marks = np.zeros(len(tokens), dtype=np.int8)
        marks[(np.cumsum(lengths) - 1)[np.array(outputs, dtype=bool)]] = 1
        scores: list[float] = []
        for start in range(0, len(tokens), self._batch):
            part = slice(start, start + self._batch)
            self._context.decode(tokens[part], positions[part], sequences[part], marks[part])
            for row in np.flatnonzero(marks[part]):
                positive, *negative = self._context.logits(int(row), self._answers)
                scores.append(self._scale * (positive - sum(negative)))
        return scores


def _positions(text: Segment) -> TokenIds:
    return np.arange(text.start, text.start + len(text.tokens), dtype=np.int32)
