"""References of causal rerankers, and what rerankd makes of the same requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rerankd.domain import Prompt
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import family_of

from support.causal_checkpoints import KINDS
from support.references import Comparison
from support.tiny_models import opened

Requests: TypeAlias = list[dict[str, Any]]

CUT, UNCUT = 512, 3072
"""The longest prompt, where the makers' code cuts documents and where it doesn't."""
CUTTING = frozenset({"qwen3", "qwen3-vl", "mxbai-rerank-v2", "bge-gemma"})
"""Families whose code cuts a long document and leaves the template whole."""


def limit_of(name: str) -> int:
    """Return how long the prompts of a kind of model may be."""
    return CUT if KINDS[name].family in CUTTING else UNCUT


class Cut(NamedTuple):
    """A prompt that had to be cut: the ids that the reference and rerankd make of it."""

    expected: list[int]
    actual: list[int]


def comparisons(
    name: str, requests: Requests, path: Path, **settings: Any
) -> Iterator[tuple[Comparison, list[Cut]]]:
    """Score with a file what there are references for.

    Documents that are cut are apart: rerankd cuts between words.
    """
    header = gguf_file.read(path)
    family = family_of(header, gguf_file.judge(header))
    limit = limit_of(name)
    with opened(path, context=limit, **settings) as engine:
        builder = PromptBuilder(layout_for(family, header, engine.tokenizer), limit)
        backend = engine.backends[0]
        for request in requests:
            documents, ids = request["documents"], request["ids"]
            query, instruction = request["query"], request["instruction"] or None
            built = builder.build(query, documents, instruction=instruction)
            prefix, rows = built.prompt.prefix, built.prompt.rows
            made = [np.concatenate((prefix, row)).tolist() for row in rows]
            kept = [
                at
                for at, document in enumerate(documents)
                if at not in built.truncated and served_alike(name, query + document)
            ]
            yield (
                Comparison(
                    query,
                    tuple(documents[at] for at in kept),
                    np.array([request["scores"][at] for at in kept]),
                    np.array([backend.run([Prompt(prefix, (rows[at],))])[0][0] for at in kept]),
                    tuple(ids[at] for at in kept),
                    tuple(made[at] for at in kept),
                ),
                [Cut(ids[at], made[at]) for at in built.truncated],
            )


def served_alike(name: str, text: str) -> bool:
    """Return whether llama.cpp reads a text as the reference does (docs/models.md).

    It takes two of Gemma's tokens for control tokens, which are only text in a text.
    """
    odd = KINDS[name].network == "gemma" and ("</s>" in text or "<mask>" in text)
    return not odd
