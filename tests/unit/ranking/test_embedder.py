"""Vectors made shorter: only of models that were trained for it, and as their cards say."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rerankd.errors import CannotEmbed
from rerankd.families.embedding import EMBEDDING
from rerankd.families.header import Header
from rerankd.families.score import CosineScore, Shortening
from rerankd.ranking import embedder

NAMES = {
    "nomic-embed-text-v1.5.Q8_0.gguf": 64,
    "nomic-embed-text-v1.Q8_0.gguf": None,
    "nomic-embed-text-v2-moe.gguf": 256,
    "mxbai-embed-large-v1_fp16.gguf": 64,
    "snowflake-arctic-embed-m-v1.5.gguf": 256,
    "snowflake-arctic-embed-m.gguf": None,
    "snowflake-arctic-embed-l-v2.0.gguf": 256,
    "Qwen3-Embedding-0.6B-Q8_0.gguf": 32,
    "embeddinggemma-300M.gguf": 128,
    "bge-small-en-v1.5.gguf": None,
}
WIDTH = 768


def runtime_of(name: str) -> Any:
    """Return as much of a runtime as is asked, for a file of this name."""
    header = Header(Path(name), 0, {}, {})
    return SimpleNamespace(
        facts=SimpleNamespace(id="m", dimensions=WIDTH),
        target=SimpleNamespace(header=header, verdict=None),
    )


@pytest.fixture(autouse=True)
def embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every file for an embedding model."""
    monkeypatch.setattr(embedder, "family_of", lambda *_: EMBEDDING)


@pytest.mark.parametrize("name", NAMES)
def test_models_are_shortened_as_far_as_they_were_trained(name: str) -> None:
    """From the shortest of their card up to one less than all; others not at all."""
    least, runtime = NAMES[name], runtime_of(name)
    allowed = {
        dimensions
        for dimensions in (31, 32, 63, 64, 127, 128, 255, 256, WIDTH - 1, WIDTH + 1)
        if _is_allowed(runtime, dimensions)
    }
    every = {32, 63, 64, 127, 128, 255, 256, WIDTH - 1}
    assert allowed == ({one for one in every if one >= least} if least else set())
    for dimensions in (None, WIDTH):
        assert embedder._shortening_of(runtime, dimensions) is None


def _is_allowed(runtime: Any, dimensions: int) -> bool:
    try:
        return embedder._shortening_of(runtime, dimensions) is not None
    except CannotEmbed:
        return False


@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_shortened_vector_is_the_beginning_at_length_1(layer_norm: bool) -> None:
    """With a layer norm of the raw vector before the cut, where the card has one."""
    raw = np.random.default_rng(7).standard_normal(WIDTH) + 0.3
    vector = (raw / np.linalg.norm(raw)).astype(np.float32)
    how = Shortening(model="", least=64, layer_norm=layer_norm)

    found = embedder._shortened(vector, 64, how)

    normal = (raw - raw.mean()) / np.sqrt(raw.var() + 1e-5) if layer_norm else raw
    expected = normal[:64] / np.linalg.norm(normal[:64])
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-6)


def test_patterns_are_whole_words_of_names() -> None:
    """Each is found in some name above, so none is dead."""
    score = EMBEDDING.score
    assert isinstance(score, CosineScore)
    called = [Header(Path(name), 0, {}, {}).called for name in NAMES]
    for one in score.shortenings:
        assert any(re.search(one.model, name) for name in called), one.model
