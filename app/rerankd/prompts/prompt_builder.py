"""Whole requests in token ids, each text made to fit the model's longest pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from msgspec import structs

from rerankd.domain import TokenIds, Truncation
from rerankd.errors import InvalidRequest, PairTooLong
from rerankd.prompts import chunking
from rerankd.prompts.chunking import TextPart, Tokenize
from rerankd.prompts.layouts import Layout
from rerankd.prompts.long_texts import LONG, Check, is_whole, read_text, unchecked
from rerankd.prompts.rows import (
    DocumentFitter,
    FittedQuery,
    PairRows,
    TokenizedRequest,
    check_tokens,
)

READ_AHEAD = 2
"""How many times the tokens that can count are read of a long text, so that a cut finds its place.
"""
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
        self._fixed = layout.fixed_query_tokens
        self._share = min(self._fixed or int(pair_tokens * layout.query_share), self._room)
        self._least = len(layout.document("")) + 1
        """Tokens of a document of which something can be read."""

    @property
    def takes_instruction(self) -> bool:
        return self._layout.takes_instruction

    def query_fits(
        self,
        query: str,
        instruction: str | None,
        truncation: Truncation,
        check: Check = unchecked,
    ) -> bool:
        """Return whether no document can cut this query further than `truncation` does itself.

        `check` is called again and again; what it raises ends the work.
        """
        self._require_readable(instruction, check)
        query, shortened = self._shortened(query, truncation, check)
        if shortened and truncation.max_tokens_per_query is None:
            return False
        kept, _ = self._limited(query, truncation)
        return self._fitted(kept, instruction).tokens <= self._share

    def build(  # noqa: PLR0913 - a request's parts, each by its name
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        truncation: Truncation = Truncation(),  # noqa: B008 - frozen
        spans: bool = False,
        token_limit: int | None = None,
        check: Check = unchecked,
    ) -> TokenizedRequest:
        """Tokenise a request.

        `max_tokens_per_doc` and `max_tokens_per_query` always cut. Then a document that doesn't
        fit beside the query is cut, split into rows of its own, or refused, as `truncation` says; a
        query over its share is cut as far as the documents need its room.

        `check` is called before each text and each slice of a long one; what it raises ends the
        work. Raises PairTooLong for a text to be refused, TooManyTokens as soon as the rows
        are known to come to more than `token_limit`, InvalidRequest for a number that is too small.
        """
        _require_sensible(truncation)
        truncation = self._settled(truncation)
        self._require_readable(instruction, check)
        query, shortened = self._shortened(query, truncation, check)
        texts = self._tokenize(documents, truncation, token_limit, check)
        longest = min(max((len(one.ids) for one in texts), default=0), _most_whole(truncation))
        fitted = self._fit_query(query, instruction, longest, truncation)
        rows = PairRows(self._layout, fitted, token_limit)
        most = self._room - (self._fixed or fitted.tokens)
        whole = min(most, _most_whole(truncation))
        fitter = DocumentFitter(truncation, most, _checked(self._trial.document, check), rows)
        for index, (text, read) in enumerate(zip(documents, texts, strict=True)):
            tokens = len(read.ids)
            if tokens <= whole:
                rows.add_all(index, (read,), complete=is_whole(read, text))
                continue
            if truncation.overflow == "error" and most < min(
                tokens, truncation.max_tokens_per_doc or tokens
            ):
                raise self._too_long(f"documents[{index}]", f"document {index}")
            parts = fitter.parts(text, read)
            rows.add_all(index, parts, complete=chunking.covers(parts, text))
        kept_tokens = len(self._layout.vocabulary.tokenize(fitted.text))
        return rows.built(kept_tokens, query_cut=fitted.cut or shortened, spans=spans)

    def _settled(self, truncation: Truncation) -> Truncation:
        """Return a truncation that says what becomes of long documents."""
        if truncation.overflow is not None:
            return truncation
        if self._window is None:
            return structs.replace(truncation, overflow="truncate")
        chunk = truncation.chunk_tokens or self._window
        return structs.replace(truncation, overflow="chunk", chunk_tokens=chunk)

    def _tokenize(
        self,
        documents: Sequence[str],
        truncation: Truncation,
        token_limit: int | None,
        check: Check,
    ) -> list[TextPart]:
        """Return what is read of each document; a request surely over the limit ends here."""
        most = _most_read(truncation, self._pair_tokens)
        texts: list[TextPart] = []
        total = 0
        for text in documents:
            left = math.inf if token_limit is None else token_limit - total
            read = self._read(
                text, max(self._pair_tokens, min(READ_AHEAD * most, left)), truncation, check
            )
            texts.append(read)
            total += int(min(len(read.ids), most))
            check_tokens(total, token_limit)
        return texts

    def _read(self, text: str, most: float, truncation: Truncation, check: Check) -> TextPart:
        """Return a document's ids, of a long one those of the part that can count."""
        side = truncation.truncation_side
        count = self._layout.vocabulary.tokenize
        return read_text(text, most, side, self._layout.document, count, check)

    def _shortened(self, query: str, truncation: Truncation, check: Check) -> tuple[str, bool]:
        """Return the part of a query that can count, and whether it is less than all of it.

        Raises PairTooLong where such a query is to be refused.
        """
        if len(query) <= LONG:
            return query, False
        count = self._layout.vocabulary.tokenize
        most = READ_AHEAD * self._pair_tokens
        part = read_text(query, most, truncation.truncation_side, count, count, check)
        shortened = not is_whole(part, query)
        if shortened and truncation.overflow == "error" and not truncation.max_tokens_per_query:
            raise self._too_long("query", "the query")
        return query[part.start : part.end], shortened

    def _require_readable(self, instruction: str | None, check: Check) -> None:
        """Raise PairTooLong for an instruction that is longer than any pair."""
        if instruction is not None and len(instruction) > LONG:
            count = self._layout.vocabulary.tokenize
            most = READ_AHEAD * self._pair_tokens
            part = read_text(instruction, most, "right", count, count, check)
            if len(part.ids) > most or not is_whole(part, instruction):
                raise self._too_long("instruction", "the instruction")

    def _fit_query(
        self, query: str, instruction: str | None, longest: float, truncation: Truncation
    ) -> FittedQuery:
        """Return the query as kept, cut where documents need its room."""
        kept, query_cut = self._limited(query, truncation)
        fitted = self._fitted(kept, instruction, cut=query_cut)
        if truncation.overflow == "error":
            if fitted.tokens > (self._fixed or self._room):
                raise self._too_long("query", "the query (with its instruction)")
            return fitted
        # The query gives way only to documents that need it.
        room = self._fixed or max(self._share, int(self._room - longest))
        if fitted.tokens > room:
            tokenize = partial(self._trial.query, instruction=instruction)
            tokens = len(self._layout.query(kept, instruction))
            most = room - (fitted.tokens - tokens)
            part = chunking.cut(kept, tokens, most, truncation.truncation_side, tokenize)
            kept = kept[part.start : part.end]
            fitted = self._around(kept, part.ids, instruction, cut=True)
        if fitted.tokens + min(longest, self._least) > self._room:
            what = "instruction" if instruction else "query"
            raise self._too_long(what, f"the {what}")
        return fitted

    def _fitted(self, query: str, instruction: str | None, *, cut: bool = False) -> FittedQuery:
        return self._around(query, self._layout.query(query, instruction), instruction, cut=cut)

    def _around(
        self, query: str, ids: TokenIds, instruction: str | None, *, cut: bool
    ) -> FittedQuery:
        prefix = self._layout.prefix(ids, instruction)
        return FittedQuery(query, prefix, self._layout.tail(ids, instruction), cut)

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


def _checked(tokenize: Tokenize, check: Check) -> Tokenize:
    """Return a tokenizer that calls `check` before each text."""

    def checking(text: str) -> TokenIds:
        check()
        return tokenize(text)

    return checking


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
