"""References in tests/data/references, and the models they are of, converted by rerankd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rerankd.conversion.converting import convert
from rerankd.domain import Prompt
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.sources import gguf as gguf_file

from support.checkpoints import CHECKPOINTS, CONTEXT, REFERENCES
from support.tiny_models import opened

LARGEST = {
    "ms-marco": 2e-3,
    "bge": 2e-3,
    "gte-modernbert": 6e-3,
    "ettin": 1.5e-2,
    "ms-marco, calm": 1e-4,
    "ettin, calm": 1e-4,
}
"""How far a logit may lie from the reference's, of files in F32 without flash attention.

But for the calm ones, it is GELU that makes the difference: ggml rounds it to half precision.
"""
DEVANAGARI = range(0x900, 0x980)


class Comparison(NamedTuple):
    """One query's documents: what the reference scores and what rerankd does."""

    query: str
    documents: tuple[str, ...]
    expected: NDArray[np.float64]
    actual: NDArray[np.float64]
    expected_ids: tuple[list[int], ...]
    ids: tuple[list[int], ...]


@cache
def recorded(name: str) -> list[dict[str, Any]]:
    """Return the requests that a kind of checkpoint has references for."""
    found = json.loads((REFERENCES / "encoders.json").read_text("utf-8"))
    requests: list[dict[str, Any]] = found[name]["requests"]
    return requests


def converted(name: str, folder: Path, kind: str = "f32") -> Path:
    """Write a kind of checkpoint, convert it, and return the GGUF file."""
    source, target = folder / name.replace(", ", "-"), folder / f"{name}.gguf"
    source.mkdir()
    convert(CHECKPOINTS[name](source), target, kind, on_written=lambda _done, _total: None)
    return target


def comparisons(name: str, path: Path, **settings: Any) -> Iterator[Comparison]:
    """Score what there are references for with a converted file."""
    header = gguf_file.read(path)
    family = gguf_file.judge(header).family
    assert family is not None
    with opened(path, context=CONTEXT, **settings) as engine:
        layout = layout_for(family, header, engine.tokenizer)
        prompter = PromptBuilder(layout, engine.sizes.limits.pair_tokens)
        backend = engine.backends[0]
        for request in recorded(name):
            kept = _served_alike(name, request["documents"])
            documents = tuple(request["documents"][number] for number in kept)
            prompt = prompter.build(request["query"], documents).prompt
            scores = [backend.run([Prompt(prompt.prefix, (row,))])[0][0] for row in prompt.rows]
            yield Comparison(
                request["query"],
                documents,
                np.array([request["scores"][number] for number in kept]),
                np.array(scores),
                tuple(request["ids"][number] for number in kept),
                tuple(np.concatenate((prompt.prefix, row)).tolist() for row in prompt.rows),
            )


def _served_alike(name: str, documents: list[str]) -> list[int]:
    """Return which documents llama.cpp's WordPiece reads as BERT's own: not those in Devanagari.

    It drops the vowels that BERT keeps (docs/models.md).
    """
    odd = [any(ord(one) in DEVANAGARI for one in document) for document in documents]
    return [at for at in range(len(documents)) if not (odd[at] and name.startswith("ms-marco"))]
