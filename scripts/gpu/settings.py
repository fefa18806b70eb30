"""What the stages work with: models, loads and texts."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from rerankd.measuring.bench.workload import BENCH_WORDS

from support.synthetic_shapes import NETWORKS

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("GPU_MODELS", "build/gpu/models"))
LLAMA_SERVER = os.environ.get("GPU_LLAMA_SERVER", "")
SMALL = bool(os.environ.get("GPU_SMALL"))
EMBEDDED = ("rerank-mini-en-q8_0.gguf", "rerank-mini-multi-q8_0.gguf")
"""Those that are there: the pack has no room for the larger one."""
UNPROVEN: dict[str, Any] = {
    "accept_degraded": True,
    "accept_unproven": True,
    "cache_bytes": 0,
    "vector_cache_bytes": 0,
    "weights": "file",
}
"""Settings for files that no manifest vouches for, without caches."""


def model_paths() -> dict[str, Path]:
    """Return the models by name: the embedded ones that are there, and those that are written."""
    found = {name.removesuffix("-q8_0.gguf"): ROOT / "models" / name for name in EMBEDDED}
    found = {name: path for name, path in found.items() if path.exists()}
    if SMALL:
        found = dict(list(found.items())[:1])
    return found | {kind: FOLDER / f"{kind}-shape.gguf" for kind in NETWORKS}


def texts(count: int, words: int, seed: int = 1) -> list[str]:
    """Return so many different texts of the benchmark's words."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(BENCH_WORDS, k=words)) for _ in range(count)]
