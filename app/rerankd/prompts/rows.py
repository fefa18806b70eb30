"""The rows of one request: a document each, or the parts of a long one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from rerankd.domain import NO_TOKENS, Pixels, Prompt, TokenIds, Truncation
from rerankd.errors import TooManyTokens
from rerankd.prompts import chunking
from rerankd.prompts.chunking import TextPart, Tokenize
from rerankd.prompts.layouts import Layout
from rerankd.prompts.long_texts import Check
from rerankd.prompts.slots import Slot

OVERLAP_SHARE = 0.1
"""The part of a chunk that may repeat the one before it, unless a request says otherwise."""


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


class FittedQuery(Struct, frozen=True, eq=False):
    """A request's query, made to fit, in ids."""

    text: str
    """As much of it as was kept."""
    prefix: TokenIds
    """The ids before each document."""
    tail: TokenIds
    """The ids after each document, before the layout's suffix."""
    cut: bool

    @property
    def tokens(self) -> int:
        """What it takes of each pair, its instruction and fixed text included."""
        return len(self.prefix) + len(self.tail)


class PairRows:
    """The rows of a request as they are made, counted."""

    def __init__(self, layout: Layout, query: FittedQuery, token_limit: int | None) -> None:
        prefix = query.prefix
        self._prefix, self._own = NO_TOKENS, prefix
        if layout.shares_prefix:
            self._prefix, self._own = prefix, layout.document_prefix
        self._suffix = np.concatenate((query.tail, layout.suffix))
        self._token_limit = token_limit
        self._tokens = len(self._prefix)
        self._rows: list[TokenIds] = []
        self._documents: list[int] = []
        self._spans: list[tuple[int, int]] = []
        self._truncated: list[int] = []

    def check(self, rows: int, tokens: int) -> None:
        """Raise TooManyTokens if this many more rows and tokens of texts are too many."""
        around = len(self._own) + len(self._suffix)
        check_tokens(self._tokens + rows * around + tokens, self._token_limit)

    def add(self, document: int, part: TextPart) -> None:
        """Add a row."""
        row = np.concatenate((self._own, part.ids, self._suffix))
        self._tokens += len(row)
        check_tokens(self._tokens, self._token_limit)
        self._rows.append(row)
        self._documents.append(document)
        self._spans.append((part.start, part.end))

    def add_all(self, document: int, parts: Sequence[TextPart], *, complete: bool) -> None:
        """Add the rows of a document that was cut or split."""
        for part in parts:
            self.add(document, part)
        if not complete:
            self._truncated.append(document)

    def built(
        self, query_tokens: int, *, query_cut: bool, spans: bool, pictures: tuple[Pixels, ...]
    ) -> TokenizedRequest:
        """Return the request; `pictures` are those that rows and prefix have by number."""
        return TokenizedRequest(
            prompt=Prompt(self._prefix, tuple(self._rows), pictures=pictures),
            documents=tuple(self._documents),
            truncated=tuple(self._truncated),
            query_truncated=query_cut,
            query_tokens=query_tokens,
            spans=tuple(self._spans) if spans else (),
        )


class DocumentFitter:
    """Makes documents of one request fit that don't as they are."""

    def __init__(self, truncation: Truncation, most: int, check: Check, rows: PairRows) -> None:
        """`most` is the most tokens of a document in one row; `check` may end the work."""
        self._truncation = truncation
        self._most = most
        self._chunk = min(most, truncation.chunk_tokens or most)
        self._check = check
        self._rows = rows

    def parts(self, slot: Slot, read: TextPart) -> Sequence[TextPart]:
        """Return what counts of a document, at least one part; `read` is what was read of it."""

        def tokenize(text: str) -> TokenIds:
            self._check()
            return slot.tried(text, self._truncation.truncation_side)

        text = slot.text[read.start : read.end]
        found = self._parts(text, read.ids, tokenize, slot)
        if not read.start:
            return found
        return [TextPart(read.start + one.start, read.start + one.end, one.ids) for one in found]

    def _parts(
        self, text: str, ids: TokenIds, tokenize: Tokenize, slot: Slot
    ) -> Sequence[TextPart]:
        truncation = self._truncation
        allowed: float = truncation.max_tokens_per_doc or math.inf
        if slot.picture_tokens:
            allowed = min(self._most, slot.most_whole(truncation))
        elif truncation.overflow != "chunk":
            allowed = min(allowed, self._most)
        elif truncation.max_chunks_per_doc:
            # What lies beyond the chunks that count needs no splitting.
            allowed = min(allowed, self._chunk * (truncation.max_chunks_per_doc + 1))
        kept = TextPart(0, len(text), ids)
        if len(ids) > allowed:
            kept = chunking.cut(text, len(ids), int(allowed), truncation.truncation_side, tokenize)
        whole = truncation.overflow != "chunk" or bool(slot.picture_tokens)
        if whole or len(kept.ids) <= self._chunk:
            return (kept,)
        return self._chunks(text, kept, tokenize)

    def _chunks(self, text: str, kept: TextPart, tokenize: Tokenize) -> Sequence[TextPart]:
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
            for part in chunking.split(inner, len(kept.ids), self._chunk, overlap, tokenize)
        ]
        if not parts:  # nothing but blanks
            return (TextPart(kept.start, kept.start, tokenize("")),)
        most = truncation.max_chunks_per_doc or len(parts)
        return parts[:most] if truncation.truncation_side == "right" else parts[-most:]


def check_tokens(tokens: int, token_limit: int | None) -> None:
    """Raise TooManyTokens for more tokens than the limit."""
    if token_limit is not None and tokens > token_limit:
        raise TooManyTokens(
            f"the request has more than {token_limit} tokens (max_request_tokens)",
            param="documents",
        )
