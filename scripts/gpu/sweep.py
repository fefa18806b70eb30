"""Documents per second by the length of a step."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rerankd import Reranker

from gpu.settings import SMALL, UNPROVEN, texts

STEPS = (512, 1024, 2048, 4096, 8192)
LOADS = ((80, 256), (400, 64))
"""Words of a document, documents of a request."""
SMALL_STEPS = (64, 128)
SMALL_LOADS = ((20, 8),)
ROUNDS = 3


def steps(path: Path, show: Callable[[dict[str, Any]], None]) -> None:
    """Show a row for every length of a step and of documents, shortest steps first."""
    for step in SMALL_STEPS if SMALL else STEPS:
        reranker = Reranker(str(path), step_tokens=step, **UNPROVEN)
        try:
            for words, documents in SMALL_LOADS if SMALL else LOADS:
                speed = per_second(reranker, words, documents)
                show({"step": step, "words": words, "documents_s": round(speed, 1)})
        finally:
            reranker.close()


def per_second(reranker: Reranker, words: int, documents: int) -> float:
    """Return the best of some rounds, each with other texts, after one that isn't counted."""
    found = []
    for number in range(1 + ROUNDS):
        asked = texts(documents, words, seed=number)
        begun = time.perf_counter()
        reranker.rank(f"how do people spend day {number}", asked)
        found.append(documents / (time.perf_counter() - begun))
    return max(found[1:])
