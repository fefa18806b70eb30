"""LiquidAI's ColBERT files, which say less than they need: the family has the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rerankd.domain import Prompt
from rerankd.engine.backends.embedding import EmbeddingBackend
from rerankd.engine.backends.max_sim import MaxSim
from rerankd.engine.llama.hidden_keys import HiddenKeys
from rerankd.errors import EngineFailure
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.sources import gguf as gguf_file

from support.forward_pass import Weights
from support.lfm2 import CONTROL, MARKERS, token_vectors, write_lfm2_colbert
from support.tiny_models import opened

QUERY = "what is a panda?"
DOCUMENTS = ("A panda is a bear.", "Cook the rice!", "", "[Q] <|im_end|> ?")
LONGEST_DIFFERENCE = 5e-3


def _sums(path: Path) -> tuple[list[float], Prompt]:
    header = gguf_file.read(path)
    verdict = gguf_file.judge(header)
    assert verdict.family is not None
    with opened(path, flash_attn="off", kv_type="f32") as engine:
        layout = layout_for(verdict.family, header, engine.tokenizer)
        prompt = PromptBuilder(layout, engine.sizes.limits.pair_tokens).build(QUERY, DOCUMENTS)
        backend = engine.backends[0]
        assert isinstance(backend, EmbeddingBackend)
        assert isinstance(backend.similarity, MaxSim)
        calibration = backend.similarity.calibration
        logits = np.array(backend.run([prompt.prompt])[0])
    cosines = (logits - calibration.bias) / calibration.scale
    return (cosines * len(prompt.prompt.prefix)).tolist(), prompt.prompt


def test_lfm2_5_scores_with_what_fills_up_its_queries(tmp_path: Path) -> None:
    """Its vectors are those of the network's formulas, where no token attends to the filling."""
    path = write_lfm2_colbert(tmp_path / "a.gguf", name="LFM2.5 ColBERT 350M")
    sums, prompt = _sums(path)
    weights = Weights(path)
    end, skipped = (weights.tokens.index(one) for one in (CONTROL[2], "?"))

    query = prompt.prefix.tolist()
    filled = query.count(end)
    assert len(query) == 32
    assert query[1] == weights.tokens.index(MARKERS[0])
    assert filled == 32 - 2 - len(QUERY)
    wanted = token_vectors(weights, query, filled)
    punctuation = {weights.tokens.index(one) for one in "!?.<|>_[]"}
    assert skipped in punctuation
    for row, actual in zip(prompt.rows, sums, strict=True):
        counts = [number not in punctuation for number in row.tolist()]
        vectors = token_vectors(weights, row.tolist(), 0)[counts]
        expected = float((wanted @ vectors.T).max(axis=1).sum())
        assert actual == pytest.approx(expected, abs=LONGEST_DIFFERENCE)


def test_lfm2_scores_without_filling_and_says_so(tmp_path: Path) -> None:
    """What llama.cpp computes in another way doesn't count, and the verdict is not exact."""
    path = write_lfm2_colbert(tmp_path / "a.gguf", name="LFM2 ColBERT 350M", causal=True)
    verdict = gguf_file.judge(gguf_file.read(path))
    sums, prompt = _sums(path)

    assert (verdict.kind, verdict.exact) == ("reranker", False)
    assert len(prompt.prefix) == 2 + len(QUERY)
    assert np.isfinite(sums).all()


def test_a_colbert_is_known_by_its_name_alone(tmp_path: Path) -> None:
    """An LFM2 with a projection but another name is not taken for one."""
    path = write_lfm2_colbert(tmp_path / "a.gguf", name="LFM2.5 Embedding 350M")
    verdict = gguf_file.judge(gguf_file.read(path))

    assert verdict.family is None or verdict.family.name != "colbert"


def test_a_decode_whose_masks_are_not_found_fails() -> None:
    """Vectors that other tokens leaked into are never taken for right ones."""
    keys = HiddenKeys()
    keys.begin(None)
    keys.end()
    keys.begin(np.array([False, True]))
    with pytest.raises(EngineFailure, match="not found"):
        keys.end()
