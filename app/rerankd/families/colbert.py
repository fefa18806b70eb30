"""ColBERT models, as PyLate and Stanford's ColBERT train them.

How a model encodes texts stands in metadata below `rerankd.colbert.`, which `rerankd convert`
writes, or here for models that their publishers give as GGUF:

- `version`: 1
- `query_marker`, `document_marker`: ids of the tokens after the first one; a file may lack them
- `query_length`, `document_length`: the most tokens of each, special tokens included
- `expansion`: what fills a query up to `query_length`; see `Expansion`
- `expansion_token`: the id that fills it
- `skiplist`: ids of tokens that don't count in documents, mostly punctuation
- `dimensions`: the length of a token's vector
- `projection`: an F32 array of `dimensions` rows, which makes it of a hidden state; and
  `projection.bias`, which a file may lack
"""

from __future__ import annotations

import string
from typing import Any, Literal, get_args

from msgspec import Struct, structs

from rerankd.families.family import ENCODER_STEPS, ComputeBuffer, Family
from rerankd.families.header import COLBERT_PREFIX, Header
from rerankd.families.prompt_format import ColbertFormat
from rerankd.families.score import MaxSimScore

COLBERT_VERSION = 1
PROJECTION_TENSOR = "dense_2.weight"
"""The projection where llama.cpp applies it itself, as its converter names it."""
Expansion = Literal["none", "attended", "unattended", "dropped"]
"""What becomes of the tokens that fill up a query.

`none`: the model was trained without them. `attended`: they are tokens like all others.
`unattended`: no token sees them, but their vectors count; this is ColBERT's own recipe.
`dropped`: the model was trained with them, but llama.cpp can't compute their vectors, so they
don't count.
"""
LONGEST_SKIPLIST = 64


class Recipe(Struct, frozen=True, kw_only=True):
    """How a ColBERT model encodes texts. Tokens are ids, or texts that are one token each."""

    query_marker: int | str | None = None
    document_marker: int | str | None = None
    query_length: int = 32
    document_length: int = 180
    expansion: Expansion = "none"
    expansion_token: int | Literal["eos"] | None = None
    skiplist: tuple[int | str, ...] = ()
    dimensions: int = 0
    """0: llama.cpp applies the projection, and gives as many numbers as it has."""

    @property
    def pair_tokens(self) -> int:
        """Tokens of the longest query and the longest document."""
        return self.query_length + self.document_length

    @classmethod
    def of(cls, header: Header) -> Recipe | None:
        """Return a file's recipe, None for a file without one. Raises ValueError."""
        if f"{COLBERT_PREFIX}version" not in header.metadata:
            return _published(header)
        version = header.metadata[f"{COLBERT_PREFIX}version"]
        if version != COLBERT_VERSION:
            raise ValueError(f"version {version!r}; this rerankd reads {COLBERT_VERSION}")
        found = {name: header.metadata.get(COLBERT_PREFIX + name) for name in INTEGERS}
        wrong = [name for name, value in found.items() if not _is_count(name, value)]
        expansion = header.metadata.get(f"{COLBERT_PREFIX}expansion")
        if wrong or expansion not in get_args(Expansion):
            raise ValueError(f"{wrong[0]} is {found[wrong[0]]!r}" if wrong else "no expansion")
        skiplist = header.metadata.get(f"{COLBERT_PREFIX}skiplist", [])
        if not isinstance(skiplist, list) or not all(type(one) is int for one in skiplist):
            raise ValueError("its skiplist holds more than ids")
        if (expansion in {"attended", "unattended"}) != (found["expansion_token"] is not None):
            raise ValueError(f"expansion is {expansion}, but expansion_token says otherwise")
        return cls(**found, expansion=expansion, skiplist=tuple(skiplist))  # type: ignore[arg-type]

    def metadata(self) -> dict[str, Any]:
        """Return the keys that describe it in a file."""
        found: dict[str, Any] = {"version": COLBERT_VERSION, "expansion": self.expansion}
        found |= {name: getattr(self, name) for name in INTEGERS}
        found["skiplist"] = list(self.skiplist)
        kept = {name: value for name, value in found.items() if value not in (None, [])}
        return {COLBERT_PREFIX + name: value for name, value in kept.items()}


OPTIONAL_IDS = ("query_marker", "document_marker", "expansion_token")
INTEGERS = (*OPTIONAL_IDS, "query_length", "document_length", "dimensions")


def _is_count(name: str, value: Any) -> bool:
    if name in OPTIONAL_IDS:
        return value is None or (type(value) is int and value >= 0)
    return type(value) is int and value > 0


LFM2_5 = Recipe(
    query_marker="[Q] ",
    document_marker="[D] ",
    query_length=32,
    document_length=512,
    expansion="unattended",
    expansion_token="eos",  # noqa: S106 - no secret
    skiplist=tuple(string.punctuation),
)
LFM2 = structs.replace(LFM2_5, expansion="dropped", expansion_token=None)
"""Reads texts in one direction, and its convolutions skip the tokens that fill up a query, which
llama.cpp's don't."""


def _published(header: Header) -> Recipe | None:
    """Return the recipe of a model that its publishers give as GGUF, without a recipe in it."""
    if header.architecture != "lfm2" or PROJECTION_TENSOR not in header.tensors:
        return None
    return LFM2_5 if header.of_architecture("attention.causal") is False else LFM2


COLBERT = Family(
    name="colbert",
    scoring="late interaction",
    models=(r"lfm2(\.5)?-colbert",),
    prompt=ColbertFormat(),
    score=MaxSimScore(),
    steps=ENCODER_STEPS,
    buffer=ComputeBuffer(width_floats=15, mask_bytes=4),
)
