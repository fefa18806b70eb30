"""Converted checkpoints score as sentence-transformers' CrossEncoder scores the originals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rerankd.conversion.checkpoint import Checkpoint
from rerankd.conversion.converting import convert
from rerankd.domain import NO_TOKENS, Prompt, TokenIds
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.sources import gguf as gguf_file

from support import forward_pass
from support.checkpoints import CHECKPOINTS, CONTEXT, write_jina_v1, write_jina_v2
from support.forward_pass import Weights
from support.gelu_forms import gelu_parts
from support.logit_tolerances import BERT, check
from support.references import LARGEST, comparisons, converted, recorded
from support.tiny_models import opened

pytestmark = pytest.mark.slow

ALIKE = 0.97
"""Correlation of scores; 0.984 measured with Q8_0."""

ALL_BUT_GELU = 1e-4
ON_ONE_SIDE = 0.6
"""The least share of pairs without a value that rounding to half precision takes another way than
in 64 bits; 0.75 measured."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("converted")
    return {name: converted(name, folder) for name in CHECKPOINTS}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_converted_file_scores_as_the_reference(files: dict[str, Path], name: str) -> None:
    """Texts become the reference's very tokens, and scores its logits, in the same order."""
    for found in comparisons(name, files[name], flash_attn="off"):
        assert found.expected_ids == found.ids
        np.testing.assert_allclose(found.actual, found.expected, rtol=0, atol=LARGEST[name])
        order = found.expected[np.argsort(-found.actual, kind="stable")]
        assert np.diff(order).max(initial=-1) <= 2 * LARGEST[name]  # but for scores all but equal


def test_references_spread_over_more_than_they_may_differ() -> None:
    """What is compared tells models and texts apart."""
    for name, largest in LARGEST.items():
        scores = [score for request in recorded(name) for score in request["scores"]]
        assert np.ptp(scores) > 250 * largest


@pytest.mark.parametrize("name", [one for one in CHECKPOINTS if "calm" not in one])
def test_gelu_is_what_is_left(files: dict[str, Path], name: str) -> None:
    """The arithmetic is the reference's with the exact GELU, and rerankd's with ggml's."""
    parts = gelu_parts(name, files[name])

    assert parts.exact.max() <= ALL_BUT_GELU
    assert np.median(parts.ggml) <= ALL_BUT_GELU
    assert np.mean(parts.ggml <= ALL_BUT_GELU) > ON_ONE_SIDE


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_converted_file_ranks_by_its_whole_head(files: dict[str, Path], name: str) -> None:
    """The verdict calls the file exact."""
    verdict = gguf_file.judge(gguf_file.read(files[name]))

    assert (verdict.kind, verdict.exact) == ("reranker", True)


def test_jina_v2_is_bge_with_other_names(files: dict[str, Path], tmp_path: Path) -> None:
    """Merged and renamed tensors of one model give its very scores."""
    source, target = tmp_path / "source", tmp_path / "jina-v2.gguf"
    source.mkdir()
    convert(write_jina_v2(source), target, "f32", on_written=lambda _done, _total: None)

    expected = comparisons("bge", files["bge"], flash_attn="off")
    for one, other in zip(expected, comparisons("bge", target, flash_attn="off"), strict=True):
        np.testing.assert_allclose(other.actual, one.actual, rtol=0, atol=1e-5)


def test_jina_v1_scores_by_its_pooler(tmp_path: Path) -> None:
    """Its scores are those of the formulas, with the head's numbers from the checkpoint."""
    target = tmp_path / "jina-v1.gguf"
    convert(write_jina_v1(tmp_path), target, "f32", on_written=lambda _done, _total: None)
    checkpoint, weights = Checkpoint(tmp_path), Weights(target)
    header = gguf_file.read(target)
    family = gguf_file.judge(header).family
    assert family is not None
    documents = recorded("ettin")[0]["documents"]
    with opened(target, context=CONTEXT, flash_attn="off") as engine:
        layout = layout_for(family, header, engine.tokenizer)
        prompt = PromptBuilder(layout, CONTEXT).build("what is a panda?", documents).prompt
        actual = [engine.backends[0].run([Prompt(NO_TOKENS, (row,))])[0][0] for row in prompt.rows]

    def expected(ids: TokenIds) -> float:
        first = forward_pass.jina_states(weights, ids)[0]
        pooled = checkpoint.array("bert.pooler.dense.weight") @ first
        pooled = np.tanh(pooled + checkpoint.array("bert.pooler.dense.bias"))
        logit = checkpoint.array("classifier.weight") @ pooled
        return float((logit + checkpoint.array("classifier.bias"))[0])

    check([expected(row) for row in prompt.rows], np.array(actual), BERT["off"])
    assert gguf_file.judge(header).exact


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0"])
@pytest.mark.parametrize("name", ["bge", "ettin"])
def test_smaller_types_score_nearly_alike(tmp_path: Path, name: str, kind: str) -> None:
    """Matrices in 16 or 8 bits change scores by little of their spread, even of tiny models."""
    path = converted(name, tmp_path, kind)
    types = {one.type for one in gguf_file.read(path).tensors.values()}

    assert types == {"F32", kind.upper()}
    for found in comparisons(name, path, flash_attn="off"):
        assert np.corrcoef(found.actual, found.expected)[0, 1] > ALIKE
