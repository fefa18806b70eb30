"""Whole requests in token ids, each text made to fit the model's longest pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from msgspec import structs

from rerankd.domain import Content, RequestPlaces, TokenIds, Truncation, TruncationSide
from rerankd.errors import PairTooLong
from rerankd.prompts import chunking
from rerankd.prompts.chunking import TextPart
from rerankd.prompts.layouts import Layout
from rerankd.prompts.long_texts import LONG, Check, is_whole, read_text, unchecked
from rerankd.prompts.picture_layout import PictureLayout
from rerankd.prompts.rows import (
    DocumentFitter,
    FittedQuery,
    PairRows,
    TokenizedRequest,
    check_tokens,
)
from rerankd.prompts.slots import Slot, Slots
from rerankd.prompts.truncations import most_read, require_sensible

READ_AHEAD = 2
"""How many times the tokens that can count are read of a long text, so that a cut finds its place.
"""


class PromptBuilder:
    """Builds prompts of one model, made to fit its longest pair."""

    def __init__(
        self,
        layout: Layout,
        pair_tokens: int,
        trial: Layout | None = None,
        *,
        window: int | None = None,
        pictures: PictureLayout | None = None,
    ) -> None:
        """`trial` is the same layout over a vocabulary that remembers nothing.

        Parts of long texts are tried with it, most of which are never needed again. `window` is
        the size of a document's chunks in tokens for requests that don't say how it is made to fit.
        `pictures` lays out pictures, for a model that sees them.
        """
        self._window = window
        self._pictures = pictures
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
        query: Content,
        instruction: str | None,
        truncation: Truncation,
        check: Check = unchecked,
    ) -> bool:
        """Return whether no document can cut this query further than `truncation` does itself.

        `check` is called again and again; what it raises ends the work.
        """
        self._require_readable(instruction, check)
        asked = Slots(self._layout, self._trial, self._pictures).query(query, instruction)
        text, shortened = self._shortened(asked.text, truncation, check)
        if shortened and truncation.max_tokens_per_query is None:
            return False
        kept, _ = self._limited(asked, text, truncation)
        side = truncation.truncation_side
        return self._fitted(asked, kept, side, instruction).tokens <= self._share

    def build(  # noqa: PLR0913 - a request's parts, each by its name
        self,
        query: Content,
        documents: Sequence[Content],
        *,
        instruction: str | None = None,
        truncation: Truncation = Truncation(),  # noqa: B008 - frozen
        spans: bool = False,
        token_limit: int | None = None,
        check: Check = unchecked,
        places: RequestPlaces = RequestPlaces(),  # noqa: B008 - frozen
    ) -> TokenizedRequest:
        """Tokenise a request.

        `max_tokens_per_doc` and `max_tokens_per_query` always cut. Then a document that doesn't
        fit beside the query is cut, split into rows of its own, or refused, as `truncation` says; a
        query over its share is cut as far as the documents need its room.

        Of a query or document with pictures only the text is cut. Such a document is never split:
        it is cut where others would be.

        `check` is called before each text and each slice of a long one; what it raises ends the
        work. `places` has what errors call the documents. Raises PairTooLong for a text to be
        refused, TooManyTokens as soon as the rows are known to come to more than `token_limit`,
        InvalidRequest for a number that is too small, TextOnly for a picture where the model sees
        none.
        """
        require_sensible(truncation)
        truncation = self._settled(truncation)
        self._require_readable(instruction, check)
        made = Slots(self._layout, self._trial, self._pictures)
        asked = made.query(query, instruction)
        text, shortened = self._shortened(asked.text, truncation, check)
        slots = [made.document(one, places.document(at)) for at, one in enumerate(documents)]
        reads = self._tokenize(slots, truncation, token_limit, check)
        longest = _longest(slots, reads, truncation)
        fitted = self._fit_query(asked, text, instruction, longest, truncation)
        rows = PairRows(self._layout, fitted, token_limit)
        self._add_documents(rows, slots, reads, fitted, truncation, check, places)
        query_tokens = len(self._layout.vocabulary.tokenize(fitted.text)) + asked.picture_tokens
        cut = fitted.cut or shortened
        return rows.built(query_tokens, query_cut=cut, spans=spans, pictures=made.pictures)

    def _add_documents(  # noqa: PLR0913 - documents, and what makes them fit
        self,
        rows: PairRows,
        slots: Sequence[Slot],
        reads: Sequence[TextPart],
        fitted: FittedQuery,
        truncation: Truncation,
        check: Check,
        places: RequestPlaces,
    ) -> None:
        """Add each document's rows, made to fit beside the query. Raises PairTooLong."""
        most = self._room - (self._fixed or fitted.tokens)
        fitter = DocumentFitter(truncation, most, check, rows)
        for index, (slot, read) in enumerate(zip(slots, reads, strict=True)):
            if len(read.ids) <= min(most, slot.most_whole(truncation)):
                rows.add_all(index, (read,), complete=is_whole(read, slot.text))
                continue
            place, what = places.document(index), f"document {places.number(index)}"
            if slot.picture_tokens and len(slot.ids("", truncation.truncation_side)) > most:
                raise self._too_long(place, what, slot.picture_tokens)
            counting = min(len(read.ids), truncation.max_tokens_per_doc or len(read.ids))
            if truncation.overflow == "error" and most < counting:
                raise self._too_long(place, what)
            parts = fitter.parts(slot, read)
            rows.add_all(index, parts, complete=chunking.covers(parts, slot.text))

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
        slots: Sequence[Slot],
        truncation: Truncation,
        token_limit: int | None,
        check: Check,
    ) -> list[TextPart]:
        """Return what is read of each document; a request surely over the limit ends here."""
        most = most_read(truncation, self._pair_tokens)
        texts: list[TextPart] = []
        total = 0
        for slot in slots:
            left = math.inf if token_limit is None else token_limit - total
            read = self._read(
                slot, max(self._pair_tokens, min(READ_AHEAD * most, left)), truncation, check
            )
            texts.append(read)
            total += int(min(len(read.ids), most))
            check_tokens(total, token_limit)
        return texts

    def _read(self, slot: Slot, most: float, truncation: Truncation, check: Check) -> TextPart:
        """Return a document's ids, of a long one those of the part that can count."""
        side = truncation.truncation_side
        count = self._layout.vocabulary.tokenize
        return read_text(slot.text, most, side, partial(slot.ids, side=side), count, check)

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
        self,
        asked: Slot,
        text: str,
        instruction: str | None,
        longest: float,
        truncation: Truncation,
    ) -> FittedQuery:
        """Return the query as kept, cut where documents need its room; `text` is left of it."""
        side = truncation.truncation_side
        kept, query_cut = self._limited(asked, text, truncation)
        fitted = self._fitted(asked, kept, side, instruction, cut=query_cut)
        if truncation.overflow == "error":
            if fitted.tokens > (self._fixed or self._room):
                what = "the query (with its instruction)"
                raise self._too_long("query", what, asked.picture_tokens)
            return fitted
        # The query gives way only to documents that need it.
        room = self._fixed or max(self._share, int(self._room - longest))
        if fitted.tokens > room:
            tokens = len(asked.ids(kept, side))
            most = room - (fitted.tokens - tokens)
            part = chunking.cut(kept, tokens, most, side, partial(asked.tried, side=side))
            kept = kept[part.start : part.end]
            fitted = self._around(kept, part.ids, instruction, cut=True)
        if fitted.tokens + min(longest, self._least) > self._room:
            what = "instruction" if instruction else "query"
            raise self._too_long(what, f"the {what}", asked.picture_tokens)
        return fitted

    def _fitted(
        self,
        asked: Slot,
        kept: str,
        side: TruncationSide,
        instruction: str | None,
        *,
        cut: bool = False,
    ) -> FittedQuery:
        return self._around(kept, asked.ids(kept, side), instruction, cut=cut)

    def _around(
        self, query: str, ids: TokenIds, instruction: str | None, *, cut: bool
    ) -> FittedQuery:
        prefix = self._layout.prefix(ids, instruction)
        return FittedQuery(query, prefix, self._layout.tail(ids, instruction), cut)

    def _limited(self, asked: Slot, text: str, truncation: Truncation) -> tuple[str, bool]:
        """Return a query's text cut to `max_tokens_per_query`, and whether it had to be."""
        if truncation.max_tokens_per_query is None:
            return text, False
        tokenize = self._trial.vocabulary.tokenize
        tokens = len(tokenize(text))
        most = max(0, truncation.max_tokens_per_query - asked.picture_tokens)
        if tokens <= most:
            return text, False
        part = chunking.cut(text, tokens, most, truncation.truncation_side, tokenize)
        return text[part.start : part.end], True

    def _too_long(self, param: str, what: str, picture_tokens: int = 0) -> PairTooLong:
        """Return the error for a text or, with their tokens, for pictures, which are never cut."""
        mend = "shorten it, or allow it to be cut"
        if picture_tokens:
            mend = f"pictures take {picture_tokens} of them: send smaller ones, or fewer"
        return PairTooLong(
            f"{what} makes a pair longer than the {self._pair_tokens} tokens this model takes;"
            f" {mend}",
            param=param,
        )


def _longest(slots: Sequence[Slot], reads: Sequence[TextPart], truncation: Truncation) -> float:
    """Return the most tokens of a row that a document asks for."""
    wanted = (
        min(len(read.ids), slot.most_whole(truncation))
        for slot, read in zip(slots, reads, strict=True)
    )
    return max(wanted, default=0)
