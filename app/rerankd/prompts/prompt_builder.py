"""Whole requests in token ids, each text made to fit the model's longest pair."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct, structs

from rerankd.domain import NO_TOKENS, Prompt, TokenIds, Truncation
from rerankd.errors import InvalidRequest, PairTooLong, TooManyTokens
from rerankd.prompts import chunking
from rerankd.prompts.chunking import TextPart, Tokenize
from rerankd.prompts.layouts import Layout

QUERY_SHARE = 0.75
"""The most of a pair's tokens that a query may take; the rest stays the document's."""
OVERLAP_SHARE = 0.1
"""The part of a chunk that may repeat the one before it, unless a request says otherwise."""
LEAST = {
    "max_tokens_per_doc": 1,
    "max_tokens_per_query": 1,
    "chunk_tokens": 1,
    "overlap_tokens": 0,
    "max_chunks_per_doc": 1,
}
"""The least that each number of a Truncation may be."""


class TokenizedRequest(Struct, frozen=True, eq=False):
    """A request in ids, and what had to be cut to make it fit."""

    prompt: Prompt
    documents: tuple[int, ...]
    """For each row of the prompt, the document it is of; a document's rows are in its order."""
    truncated: tuple[int, ...]
    """Documents that were cut, ascending."""
    query_truncated: bool
    query_tokens: int
    """Tokens of the query itself, as much of it as was kept."""
    spans: tuple[tuple[int, int], ...] = ()
    """For each row, the characters of its document that it holds; empty unless asked for."""

    def row_tokens(self, row: int) -> int:
        """Return the tokens of one row's pair, the shared prefix included."""
        return len(self.prompt.prefix) + len(self.prompt.rows[row])


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

        Parts of long texts are tried with it, most of which nobody will ask for again. `window`
        is the tokens of a document's chunks where a request doesn't say how it is made to fit.
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
        """Tell whether no document can make this query be cut, or `truncation` cuts it at all."""
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
        rows = _Rows(self._layout, prefix, token_limit)
        most = self._room - len(prefix)
        whole = min(most, _most_whole(truncation))
        fitter = _Fitter(truncation, most, self._trial.document, rows)
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
            _check(total, token_limit)
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


class _Rows:
    """The rows of a request as they are made, counted."""

    def __init__(self, layout: Layout, prefix: TokenIds, token_limit: int | None) -> None:
        self._prefix, self._own = NO_TOKENS, prefix
        if layout.shares_prefix:
            self._prefix, self._own = prefix, layout.document_prefix
        self._suffix = layout.suffix
        self._token_limit = token_limit
        self._tokens = len(self._prefix)
        self._rows: list[TokenIds] = []
        self._documents: list[int] = []
        self._spans: list[tuple[int, int]] = []
        self._truncated: list[int] = []

    def check(self, rows: int, tokens: int) -> None:
        """Raise TooManyTokens if so many more rows, of so many tokens of texts, are too many."""
        around = len(self._own) + len(self._suffix)
        _check(self._tokens + rows * around + tokens, self._token_limit)

    def add(self, document: int, part: TextPart) -> None:
        """Add a row."""
        row = np.concatenate((self._own, part.ids, self._suffix))
        self._tokens += len(row)
        _check(self._tokens, self._token_limit)
        self._rows.append(row)
        self._documents.append(document)
        self._spans.append((part.start, part.end))

    def add_all(self, document: int, parts: Sequence[TextPart], *, complete: bool) -> None:
        """Add the rows of a document that was cut or split."""
        for part in parts:
            self.add(document, part)
        if not complete:
            self._truncated.append(document)

    def built(self, query_tokens: int, *, query_cut: bool, spans: bool) -> TokenizedRequest:
        """Return the request."""
        return TokenizedRequest(
            prompt=Prompt(self._prefix, tuple(self._rows)),
            documents=tuple(self._documents),
            truncated=tuple(self._truncated),
            query_truncated=query_cut,
            query_tokens=query_tokens,
            spans=tuple(self._spans) if spans else (),
        )


class _Fitter:
    """Makes documents of one request fit that don't as they are."""

    def __init__(self, truncation: Truncation, most: int, tokenize: Tokenize, rows: _Rows) -> None:
        """`most` is the most tokens of a document in one row."""
        self._truncation = truncation
        self._most = most
        self._chunk = min(most, truncation.chunk_tokens or most)
        self._tokenize = tokenize
        self._rows = rows

    def parts(self, text: str, ids: TokenIds) -> Sequence[TextPart]:
        """Return what is read of a document, at least one part."""
        truncation = self._truncation
        allowed: float = truncation.max_tokens_per_doc or math.inf
        if truncation.overflow != "chunk":
            allowed = min(allowed, self._most)
        elif truncation.max_chunks_per_doc:
            # What lies beyond the chunks that count needs no splitting.
            allowed = min(allowed, self._chunk * (truncation.max_chunks_per_doc + 1))
        kept = TextPart(0, len(text), ids)
        if len(ids) > allowed:
            kept = chunking.cut(
                text, len(ids), int(allowed), truncation.truncation_side, self._tokenize
            )
        if truncation.overflow != "chunk" or len(kept.ids) <= self._chunk:
            return (kept,)
        return self._chunks(text, kept)

    def _chunks(self, text: str, kept: TextPart) -> Sequence[TextPart]:
        truncation = self._truncation
        least = min(
            truncation.max_chunks_per_doc or math.inf, math.ceil(len(kept.ids) / self._chunk)
        )
        self._rows.check(int(least), int(min(len(kept.ids), least * self._chunk)))
        overlap = truncation.overlap_tokens
        if overlap is None:
            overlap = int(self._chunk * OVERLAP_SHARE)
        inner = text[kept.start : kept.end]
        parts = [
            TextPart(kept.start + part.start, kept.start + part.end, part.ids)
            for part in chunking.split(inner, len(kept.ids), self._chunk, overlap, self._tokenize)
        ]
        if not parts:  # nothing but blanks
            return (TextPart(kept.start, kept.start, self._tokenize("")),)
        most = truncation.max_chunks_per_doc or len(parts)
        return parts[:most] if truncation.truncation_side == "right" else parts[-most:]


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


def _check(tokens: int, token_limit: int | None) -> None:
    if token_limit is not None and tokens > token_limit:
        raise TooManyTokens(
            f"the request has more than {token_limit} tokens (max_request_tokens)",
            param="documents",
        )
