"""Scores of rows as they come, put together to documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec

from rerankd.domain import Passage, RankedDocument, RankRequest
from rerankd.prompts import TokenizedRequest
from rerankd.ranking.preparation import PreparedRequest
from rerankd.ranking.scales import Scale
from rerankd.ranking.score_cache import CachedScore

TOP_CHUNKS = 3
"""Best chunks whose mean is a document's score with `mean_top_k`, and most passages returned."""

OnScored = Callable[[Sequence[RankedDocument]], None]
"""Takes documents whose score is final, as they become so."""


class ScoreCollector:
    """The raw scores of one request's distinct documents, complete when `scores` has them all."""

    def __init__(
        self,
        prepared: PreparedRequest,
        request: RankRequest,
        places: Sequence[int],
        scale: Scale,
        on_scored: OnScored | None = None,
    ) -> None:
        """`places` has, for each input, its number among the distinct documents.

        Documents whose score is cached are reported to `on_scored` at once.
        """
        self.scores = dict(prepared.cached)
        """By the number of a distinct document."""
        self.computed: list[tuple[bytes, CachedScore]] = []
        """What was not cached before, under its key."""
        self._prepared = prepared
        self._request = request
        self._places = places
        self._scale = scale
        self._on_scored = on_scored
        tokenized = prepared.tokenized
        self._rows: dict[int, list[int]] = {}
        for row, document in enumerate(tokenized.documents if tokenized else ()):
            self._rows.setdefault(document, []).append(row)
        self._rows_left = {document: len(rows) for document, rows in self._rows.items()}
        self._logits: dict[int, float] = {}
        self._truncated = frozenset(tokenized.truncated if tokenized else ())
        self._inputs: dict[int, list[int]] = {}
        if on_scored:
            for index, number in enumerate(places):
                self._inputs.setdefault(number, []).append(index)
        self._report(prepared.cached)

    @property
    def inputs_scored(self) -> int:
        """How many of the inputs have their score."""
        return sum(number in self.scores for number in self._places)

    @property
    def inputs_cached(self) -> int:
        """How many of the inputs had a score before this request."""
        return sum(number in self._prepared.cached for number in self._places)

    def take(self, rows: Iterable[int], logits: Iterable[float]) -> None:
        """Take logits of rows; one that was taken before changes nothing."""
        tokenized = self._prepared.tokenized
        if tokenized is None:
            return
        complete: list[int] = []
        for row, logit in zip(rows, logits, strict=True):
            if row in self._logits:
                continue
            self._logits[row] = logit
            document = tokenized.documents[row]
            self._rows_left[document] -= 1
            if not self._rows_left[document]:
                complete.append(document)
        missing, keys = self._prepared.missing, self._prepared.keys
        found = {missing[one]: self._score_of(tokenized, one) for one in complete}
        self.scores |= found
        if not tokenized.query_truncated:
            self.computed += [(keys[one], score) for one, score in found.items() if one in keys]
        self._report(found)

    def inputs(self) -> dict[int, CachedScore]:
        """Return the score of each input that has one, with what words add to it."""
        return {
            index: self._with_words(index, self.scores[number])
            for index, number in enumerate(self._places)
            if number in self.scores
        }

    def _score_of(self, tokenized: TokenizedRequest, document: int) -> CachedScore:
        """Make a document's score of its rows' logits."""
        rows = self._rows[document]
        best = sorted(rows, key=lambda row: (-self._logits[row], row))[:TOP_CHUNKS]
        counted = best if self._request.chunk_score == "mean_top_k" else best[:1]
        logit = math.fsum(self._logits[row] for row in counted) / len(counted)
        passages = (
            tuple(Passage(*tokenized.spans[row], self._logits[row]) for row in best)
            if tokenized.spans
            else ()
        )
        return CachedScore(
            logit=logit,
            tokens=sum(tokenized.row_tokens(row) for row in rows),
            chunks=len(rows),
            truncated=document in self._truncated,
            passages=passages,
        )

    def _report(self, found: dict[int, CachedScore]) -> None:
        if not self._on_scored:
            return
        scored = [
            (index, self._with_words(index, score))
            for number, score in found.items()
            for index in self._inputs[number]
        ]
        kept = [each for each in scored if self._scale.keeps(each[1].logit)]
        if kept:
            self._on_scored([ranked_document(*each, self._scale) for each in kept])

    def _with_words(self, index: int, score: CachedScore) -> CachedScore:
        added = self._prepared.added_logits[index] if self._prepared.added_logits else 0.0
        if not added:
            return score
        return msgspec.structs.replace(
            score,
            logit=score.logit + added,
            passages=tuple(
                msgspec.structs.replace(one, score=one.score + added) for one in score.passages
            ),
        )


def ranked_document(index: int, score: CachedScore, scale: Scale) -> RankedDocument:
    """Return a document with its scores on a scale."""
    return RankedDocument(
        index,
        scale.score(score.logit),
        tuple(Passage(one.start, one.end, scale.score(one.score)) for one in score.passages),
    )
