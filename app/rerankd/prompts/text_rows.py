"""Texts to be embedded in token ids: a row each, made to fit the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from rerankd.domain import NO_TOKENS, Prompt, TextSide, TokenIds
from rerankd.errors import PairTooLong
from rerankd.prompts import chunking
from rerankd.prompts.chunking import Tokenize
from rerankd.prompts.layouts import Layout
from rerankd.prompts.long_texts import Check, is_whole, read_text, unchecked
from rerankd.prompts.rows import check_tokens


class TokenizedTexts(Struct, frozen=True, eq=False):
    """Texts in ids, a row for each distinct one, and which had to be cut."""

    prompt: Prompt
    rows: tuple[int, ...]
    """For each text, its row."""
    truncated: tuple[int, ...]
    """Indices of texts, ascending."""


class TextRowBuilder:
    """Builds the rows of texts that are embedded, each alone in the model's context."""

    def __init__(self, layout: Layout, text_tokens: int, trial: Layout | None = None) -> None:
        """`trial` is the same layout over a vocabulary that remembers nothing."""
        self._layout = layout
        self._trial = trial or layout
        self._text_tokens = text_tokens
        self._room = text_tokens - len(layout.document_prefix) - len(layout.suffix)

    def build(
        self,
        texts: Sequence[str],
        *,
        side: TextSide | None = None,
        truncate: bool = False,
        token_limit: int | None = None,
        check: Check = unchecked,
    ) -> TokenizedTexts:
        """Tokenise texts, with the words that the model was trained to see before that `side`.

        `check` is called before each text and each slice of a long one; what it raises ends the
        work. Raises PairTooLong for a text that doesn't fit unless it may be cut, TooManyTokens as
        soon as the rows are known to come to more than `token_limit`.
        """
        rows: list[TokenIds] = []
        cut_rows: set[int] = set()
        numbers: dict[str, int] = {}
        tokens = 0
        for index, text in enumerate(texts):
            if text in numbers:
                continue
            ids, cut = self._ids(text, side, check)
            if cut and not truncate:
                raise self._too_long(index)
            numbers[text] = len(rows)
            if cut:
                cut_rows.add(len(rows))
            rows.append(np.concatenate((self._layout.document_prefix, ids, self._layout.suffix)))
            tokens += len(rows[-1])
            check_tokens(tokens, token_limit)
        places = tuple(numbers[text] for text in texts)
        truncated = tuple(index for index, row in enumerate(places) if row in cut_rows)
        return TokenizedTexts(Prompt(NO_TOKENS, tuple(rows)), places, truncated)

    def _ids(self, text: str, side: TextSide | None, check: Check) -> tuple[TokenIds, bool]:
        """Return the ids of as much of a text as fits, and whether something is left out."""
        count, tokenize = self._layout.vocabulary.tokenize, _of_side(self._layout, side)
        read = read_text(text, self._text_tokens, "right", tokenize, count, check)
        if len(read.ids) <= self._room:
            return read.ids, not is_whole(read, text)
        kept = text[read.start : read.end]
        trial = _of_side(self._trial, side)
        return chunking.cut(kept, len(read.ids), self._room, "right", trial).ids, True

    def _too_long(self, index: int) -> PairTooLong:
        return PairTooLong(
            f"text {index} is longer than the {self._text_tokens} tokens this model takes;"
            " shorten it, or allow it to be cut with `truncate`",
            param=f"input[{index}]",
        )


def _of_side(layout: Layout, side: TextSide | None) -> Tokenize:
    """Return what tokenises the texts of one side, with the words before them."""
    if side is None:
        return layout.vocabulary.tokenize
    if side == "document":
        return layout.document
    around = len(layout.document_prefix), len(layout.suffix)
    whole = layout.prefix(NO_TOKENS, None)
    words = whole[around[0] : len(whole) - around[1]]
    return lambda text: np.concatenate((words, layout.query(text)))
