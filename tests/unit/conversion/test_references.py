"""Converted checkpoints score as sentence-transformers' CrossEncoder scores the originals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rerankd.sources import gguf as gguf_file

from support.checkpoints import CHECKPOINTS
from support.references import LARGEST, comparisons, converted, recorded

ALIKE = 0.97
"""Correlation of scores; 0.984 measured with Q8_0."""


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


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_converted_file_ranks_by_its_whole_head(files: dict[str, Path], name: str) -> None:
    """The verdict calls the file exact."""
    verdict = gguf_file.judge(gguf_file.read(files[name]))

    assert (verdict.kind, verdict.exact) == ("reranker", True)


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0"])
@pytest.mark.parametrize("name", ["bge", "ettin"])
def test_smaller_types_score_nearly_alike(tmp_path: Path, name: str, kind: str) -> None:
    """Matrices in 16 or 8 bits change scores by little of their spread, even of tiny models."""
    path = converted(name, tmp_path, kind)
    types = {one.type for one in gguf_file.read(path).tensors.values()}

    assert types == {"F32", kind.upper()}
    for found in comparisons(name, path, flash_attn="off"):
        assert np.corrcoef(found.actual, found.expected)[0, 1] > ALIKE
