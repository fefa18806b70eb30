"""Whole requests in token ids, each text made to fit the model's longest pair."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import structs

from rerankd.domain import TokenIds, Truncation
from rerankd.errors import InvalidRequest, PairTooLong
from rerankd.prompts import chunking
from rerankd.prompts.chunking import TextPart
from rerankd.prompts.layouts import Layout
from rerankd.prompts.rows import DocumentFitter, PairRows, TokenizedRequest, check_tokens

QUERY_SHARE = 0.75
"""The most of a pair's tokens that a query may take; the rest stays the document's."""
LEAST = {
    "max_tokens_per_doc": 1,
    "max_tokens_per_query": 1,
    "chunk_tokens": 1,
    "overlap_tokens": 0,
    "max_chunks_per_doc": 1,
}
"""The least that each number of a Truncation may be."""


class PromptBuilder:
    """Builds prompts of one model, made to fit its longest pair."""

    def __init__(
        self,
        layout: Layout,
        pair_tokens: int,
        trial: Layout | None = None,
        *,
        window: int | None = None,
    ) -> None:
        """`trial` is the same layout over a vocabulary that remembers nothing.

        Parts of long texts are tried with it, most of which are never needed again. `window` is
        the size of a document's chunks in tokens for requests that don't say how it is made to fit.
        """
        self._window = window
        self._layout = layout
        self._trial = trial or layout
        self._pair_tokens = pair_tokens
        self._room = pair_tokens - len(layout.document_prefix) - len(layout.suffix)
        self._share = min(int(pair_tokens * QUERY_SHARE), self._room)
        self._least = len(layout.document("")) + 1
        """Tokens of a document of which something can be read."""

    @property
    def takes_instruction(self) -> bool:
        return self._layout.takes_instruction

    def query_fits(self, query: str, instruction: str | None, truncation: Truncation) -> bool:
        """Return whether no document can cut this query further than `truncation` does itself."""
        kept, _ = self._limited(query, truncation)
        return len(self._layout.prefix(self._layout.query(kept), instruction)) <= self._share

    def build(  # noqa: PLR0913 - a request's parts, each by its name
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        truncation: Truncation = Truncation(),  # noqa: B008 - frozen
        spans: bool = False,
        token_limit: int | None = None,
    ) -> TokenizedRequest:
        """Tokenise a request.

        `max_tokens_per_doc` and `max_tokens_per_query` always cut. Then a document that doesn't
        fit beside the query is cut, split into rows of its own, or refused, as `truncation` says; a
        query over its share is cut as far as the documents need its room.

        Raises PairTooLong for a text to be refused, TooManyTokens as soon as the rows are known
        to come to more than `token_limit`, InvalidRequest for a number that is too small.
        """
        _require_sensible(truncation)
        truncation = self._settled(truncation)
        texts = self._tokenize(documents, truncation, token_limit)
        longest = min(max(map(len, texts), default=0), _most_whole(truncation))
        kept_query, prefix, query_cut = self._fit_query(query, instruction, longest, truncation)
        rows = PairRows(self._layout, prefix, token_limit)
        most = self._room - len(prefix)
        whole = min(most, _most_whole(truncation))
        fitter = DocumentFitter(truncation, most, self._trial.document, rows)
        for index, (text, ids) in enumerate(zip(documents, texts, strict=True)):
            if len(ids) <= whole:
                rows.add(index, TextPart(0, len(text), ids))
                continue
            if truncation.overflow == "error" and most < min(
                len(ids), truncation.max_tokens_per_doc or len(ids)
            ):
                raise self._too_long(f"documents[{index}]", f"document {index}")
            parts = fitter.parts(text, ids)
            rows.add_all(index, parts, complete=chunking.covers(parts, text))
        kept_tokens = len(self._layout.vocabulary.tokenize(kept_query))
        return rows.built(kept_tokens, query_cut=query_cut, spans=spans)

    def _settled(self, truncation: Truncation) -> Truncation:
        """Return a truncation that says what becomes of long documents."""
        if truncation.overflow is not None:
            return truncation
        if self._window is None:
            return structs.replace(truncation, overflow="truncate")
        chunk = truncation.chunk_tokens or self._window
        return structs.replace(truncation, overflow="chunk", chunk_tokens=chunk)

    def _tokenize(
        self, documents: Sequence[str], truncation: Truncation, token_limit: int | None
    ) -> list[TokenIds]:
        """Return all documents' ids; a request that is surely over the limit ends here."""
        most = _most_read(truncation, self._pair_tokens)
        texts: list[TokenIds] = []
        total = 0
        for text in documents:
            ids = self._layout.document(text)
            texts.append(ids)
            total += int(min(len(ids), most))
            check_tokens(total, token_limit)
        return texts

    def _fit_query(
        self, query: str, instruction: str | None, longest: float, truncation: Truncation
    ) -> tuple[str, TokenIds, bool]:
        """Return the query as kept, the ids before documents, and whether it was cut."""
        kept, query_cut = self._limited(query, truncation)
        ids = self._layout.query(kept)
        prefix = self._layout.prefix(ids, instruction)
        if truncation.overflow == "error":
            if len(prefix) > self._room:
                raise self._too_long("query", "the query (with its instruction)")
            return kept, prefix, query_cut
        # The query gives way only to documents that need it.
        room = max(self._share, int(self._room - longest))
        if len(prefix) > room:
            most = room - (len(prefix) - len(ids))
            part = chunking.cut(kept, len(ids), most, truncation.truncation_side, self._trial.query)
            kept, query_cut = kept[part.start : part.end], True
            prefix = self._layout.prefix(part.ids, instruction)
        if len(prefix) + min(longest, self._least) > self._room:
            what = "instruction" if instruction else "query"
            raise self._too_long(what, f"the {what}")
        return kept, prefix, query_cut

    def _limited(self, query: str, truncation: Truncation) -> tuple[str, bool]:
        """Return a query cut to `max_tokens_per_query`, and whether it had to be."""
        if truncation.max_tokens_per_query is None:
            return query, False
        tokenize = self._trial.vocabulary.tokenize
        tokens = len(tokenize(query))
        if tokens <= truncation.max_tokens_per_query:
            return query, False
        most, side = truncation.max_tokens_per_query, truncation.truncation_side
        part = chunking.cut(query, tokens, most, side, tokenize)
        return query[part.start : part.end], True

    def _too_long(self, param: str, what: str) -> PairTooLong:
        return PairTooLong(
            f"{what} makes a pair longer than the {self._pair_tokens} tokens this model takes;"
            " shorten it, or allow it to be cut",
            param=param,
        )


def _most_whole(truncation: Truncation) -> float:
    """Return the most tokens of a document that `truncation` leaves as they are."""
    chunk = truncation.chunk_tokens if truncation.overflow == "chunk" else None
    return min(truncation.max_tokens_per_doc or math.inf, chunk or math.inf)


def _most_read(truncation: Truncation, pair_tokens: int) -> float:
    """Return the most tokens of a document that can be read, in all its rows."""
    most: float = pair_tokens
    if truncation.overflow == "chunk":
        chunk = min(pair_tokens, truncation.chunk_tokens or pair_tokens)
        most = chunk * (truncation.max_chunks_per_doc or math.inf)
    return min(most, truncation.max_tokens_per_doc or math.inf)


def _require_sensible(truncation: Truncation) -> None:
    for name, least in LEAST.items():
        value = getattr(truncation, name)
        if value is not None and value < least:
            raise InvalidRequest(f"{name} must be at least {least}", param=name)
