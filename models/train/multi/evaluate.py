"""Figures on the sets that are not fitted on: mean reciprocal rank by set and language."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .convert import Head
from .head import Comparer, Vectors
from .lists import Ranked

Figures = dict[str, dict[str, dict[str, float]]]
"""Mean reciprocal ranks by set, language and ranking."""


def reciprocal_rank(scores: Sequence[float]) -> float:
    """Return 1 by the place of the first score; ties count as their middle place."""
    own, others = scores[0], np.asarray(scores[1:])
    return float(1 / (1 + (others > own).sum() + (others == own).sum() / 2))


def figures(lists: Sequence[Ranked], vectors: Vectors, head: Head) -> Figures:
    """Return the figures of BM25, of the cosine that it started from, and of the model."""
    comparer = Comparer(head.rarity, head.centre, head.projection)
    mix = np.array([head.cosine, head.match, head.lexical])
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for one in lists:
        parts = comparer.of_list(one, vectors)
        rankings = (one.bm25, parts[:, 0].tolist(), (parts @ mix).tolist())
        found[one.source, one.language].append(
            tuple(reciprocal_rank(scores) for scores in rankings)  # type: ignore[arg-type]
        )
    told: Figures = defaultdict(dict)
    for (source, language), rows in sorted(found.items()):
        means = np.mean(rows, axis=0).tolist()
        told[source][language] = dict(zip(("BM25", "cosine", "model"), means, strict=True))
    return dict(told)


def report(path: Path, told: Figures) -> None:
    """Write the figures as JSON, and print them."""
    path.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    for source, languages in told.items():
        for language, row in languages.items():
            print(
                source,
                language,
                " ".join(f"{ranking} {value:.3f}" for ranking, value in row.items()),
                flush=True,
            )
