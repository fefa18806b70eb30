"""Long texts made to fit: cut to a number of tokens, or split into chunks that overlap.

A part's ids are always those of its own characters, tokenised alone, so a cut never leaves half
a character behind and its place in the text is known exactly. Tokenizers don't give
a token's place in the text, so places are found by trying.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct
from semantic_text_splitter import TextSplitter

from rerankd.domain import TokenIds, TruncationSide

Tokenize = Callable[[str], TokenIds]
"""Text to the ids that a part of it takes."""

TRIES = 16
"""Most lengths tried for a cut; two or three find it in ordinary text."""
GOOD_ENOUGH = 128
"""A cut is good enough when it lacks less than 1/128 of the tokens it could have."""
WORD = 32
"""How many characters to search for the end of a word."""
SPARE = 8
"""Tokens that a cut gives up at most in order to fall between words."""
REACHES = (1.5, 8)
"""Average chunks of which a long text is counted before it is counted in full."""
JOINERS = "\u200c\u200d"


class TextPart(Struct, frozen=True, eq=False):
    """Characters `start` to `end` of a text and their ids."""

    start: int
    end: int
    ids: TokenIds


def cut(text: str, tokens: int, most: int, side: TruncationSide, tokenize: Tokenize) -> TextPart:
    """Return the longest part, or nearly, of a text of `tokens` tokens that takes at most `most`.

    `side` is lost: between words if there is a blank near, never between a character and what
    it carries. The part is empty if not even one character fits.
    """
    cutter = _Cutter(text, side, tokenize)
    low, kept = 0, cutter.part(0)
    high, high_tokens = len(text), tokens
    for _ in range(TRIES):
        room = most - len(kept.ids)
        if high - low <= 1 or room <= most // GOOD_ENOUGH:
            break
        step = int((high - low) * room / (high_tokens - len(kept.ids)))
        length = low + min(max(step, 1), high - low - 1)
        tried = cutter.part(length)
        if len(tried.ids) <= most:
            low, kept = length, tried
        else:
            high, high_tokens = length, len(tried.ids)
    return cutter.settle(kept, most)


class _Cutter:
    """Parts of one text that keep its beginning, or with `left` its end."""

    def __init__(self, text: str, side: TruncationSide, tokenize: Tokenize) -> None:
        self._text = text
        self._left = side == "left"
        self._tokenize = tokenize

    def part(self, length: int) -> TextPart:
        """Return the part of `length` characters."""
        start = len(self._text) - length if self._left else 0
        end = start + length
        return TextPart(start, end, self._tokenize(self._text[start:end]))

    def settle(self, kept: TextPart, most: int) -> TextPart:
        """Return the part without half a word or character at its open end."""
        length = kept.end - kept.start
        if not length or length == len(self._text):
            return kept
        for boundary in self._word_boundaries(length):
            tried = self.part(boundary)
            if most - SPARE <= len(tried.ids) <= most and boundary:
                return tried
        shorter = range(length, max(length - WORD, 0), -1)
        whole = next((one for one in shorter if not self._carried(self._edge(one))), length)
        return kept if whole == length else self.part(whole)

    def _edge(self, length: int) -> int:
        """Return the open end of a part of `length` characters: its place in the text."""
        return len(self._text) - length if self._left else length

    def _word_boundaries(self, length: int) -> list[int]:
        """Return the lengths, longer before shorter, at which the word at the cut is whole."""
        edge = self._edge(length)
        before = self._text[max(0, edge - WORD) : edge]
        after = self._text[edge : edge + WORD]
        inner, outer = (after, before[::-1]) if self._left else (before[::-1], after)
        more, less = _to_blank(outer), _to_blank(inner)
        longer = [length + more] if more and less != 0 else []
        if less is None or (more == 0 and less):
            return longer
        blanks = len(inner[less:]) - len(inner[less:].lstrip())
        return [*longer, length - less - blanks]

    def _carried(self, edge: int) -> bool:
        """Return whether a cut here would separate a character from its accents or joined ones."""
        one, last = self._text[edge], self._text[edge - 1]
        skin = "\U0001f3fb" <= one <= "\U0001f3ff"
        return skin or one in JOINERS or last in JOINERS or unicodedata.category(one)[0] == "M"


def _to_blank(text: str) -> int | None:
    """Return the place of a text's first blank."""
    return next((at for at, one in enumerate(text) if one.isspace()), None)


def split(
    text: str, tokens: int, most: int, overlap: int, tokenize: Tokenize
) -> Iterator[TextPart]:
    """Yield chunks of a text of `tokens` tokens, each of at most `most` tokens, in their order.

    They end where paragraphs or sentences do, or else words; `overlap` is how many tokens of
    the chunk before may be repeated. Blanks around a chunk belong to none. A character that
    alone takes more than `most` is left out.
    """
    readable = text.encode("utf-8", "replace").decode()  # as tokenizers see lone surrogates
    counted = _Counter(most, len(text) * most / max(tokens, 1), tokenize)
    splitter = TextSplitter.from_callback(counted, most, overlap=min(overlap, most // 2))
    for start, chunk in splitter.chunk_indices(readable):
        yield from _fitting(chunk, start, most, tokenize)


def _fitting(text: str, start: int, most: int, tokenize: Tokenize) -> Iterator[TextPart]:
    """Yield a chunk as it is, or in parts if it is too long: one with no place to split it at."""
    while text:
        ids = tokenize(text)
        fits = len(ids) <= most
        part = TextPart(0, len(text), ids) if fits else cut(text, len(ids), most, "right", tokenize)
        if part.end:
            yield TextPart(start, start + part.end, part.ids)
        step = part.end or 1
        text, start = text[step:], start + step


def covers(parts: Sequence[TextPart], text: str) -> bool:
    """Return whether parts, in order, hold all of a text except blanks."""
    ends = [0, *(part.end for part in parts)]
    starts = [*(part.start for part in parts), len(text)]
    gaps = (text[end:start] for end, start in zip(ends, starts, strict=True))
    return not any(gap and not gap.isspace() for gap in gaps)


class _Counter:
    """Counts tokens for the splitter, of long texts only as far as it matters."""

    def __init__(self, most: int, average: float, tokenize: Tokenize) -> None:
        """`average` is how many characters take `most` tokens on the average."""
        self._most = most
        self._reaches = [int(average * reach) for reach in REACHES]
        self._tokenize = tokenize

    def __call__(self, text: str) -> int:
        """Return a text's tokens, or any number above `most` if there are more than that."""
        # The splitter asks about all that is left, again and again.
        for reach in self._reaches:
            if len(text) > reach:
                tokens = len(self._tokenize(text[:reach]))
                if tokens > self._most:
                    return tokens
        return len(self._tokenize(text))
