"""Scores of a model on the GPU beside the CPU's."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rerankd import Reranker
from rerankd.engine.opening import size_and_place
from rerankd.settings import Settings
from rerankd.sources import gguf

from gpu.settings import SMALL, UNPROVEN, texts

CLOSE = 0.05
"""The largest difference of two scores, as a share of the range of all."""


def compared(path: Path, layers: str) -> dict[str, Any]:
    """Rank with "all" or "half" of the layers on the GPU, and on the CPU alone."""
    blocks = gguf.read(path).integer("block_count")
    chosen = "all" if layers == "all" else str(max(1, (blocks + 1) // 2))
    if not on_gpu(path):
        chosen = "auto"
    documents = texts(6 if SMALL else 16, 20 if SMALL else 60)
    cpu, cpu_seconds = scores(path, documents, "0")
    gpu, gpu_seconds = scores(path, documents, chosen)
    return {"layers": chosen, "cpu_s": cpu_seconds, "gpu_s": gpu_seconds, **difference(cpu, gpu)}


def on_gpu(path: Path) -> bool:
    """Return whether any layer would go to a GPU here."""
    header = gguf.read(path)
    return size_and_place(header, gguf.judge(header), Settings())[1].layers > 0


def scores(path: Path, documents: list[str], layers: str) -> tuple[list[float], float]:
    """Return the logits in the documents' order, and the seconds of a second request."""
    reranker = Reranker(str(path), gpu_layers=layers, **UNPROVEN)
    try:
        reranker.rank("a warm day", documents[:2], raw_scores=True)
        begun = time.perf_counter()
        ranked = reranker.rank("how do people spend a long day", documents, raw_scores=True)
        seconds = time.perf_counter() - begun
    finally:
        reranker.close()
    by_index = {one.index: one.score for one in ranked}
    return [by_index[at] for at in range(len(documents))], round(seconds, 3)


def difference(one: list[float], two: list[float]) -> dict[str, Any]:
    """Return how far scores are apart; ok: at most `CLOSE` of their range."""
    spread = max(one) - min(one)
    largest = max(abs(left - right) for left, right in zip(one, two, strict=True))
    same = _order(one) == _order(two)
    return {
        "range": round(spread, 4),
        "largest_difference": round(largest, 4),
        "same_order": same,
        "ok": spread > 0 and largest <= CLOSE * spread,
    }


def _order(found: list[float]) -> list[int]:
    return sorted(range(len(found)), key=lambda at: -found[at])
