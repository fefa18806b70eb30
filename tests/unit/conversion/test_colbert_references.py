"""Converted ColBERT checkpoints score as PyLate scores the originals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rerankd.conversion.converting import convert
from rerankd.errors import ModelFileError
from rerankd.sources import gguf as gguf_file

from support.colbert_checkpoints import COLBERTS, write_pylate, write_stanford
from support.colbert_references import (
    LARGEST_SUM,
    colbert_comparisons,
    converted_colbert,
    recorded_colbert,
)


@pytest.mark.parametrize("name", COLBERTS)
def test_a_converted_colbert_scores_as_pylate(tmp_path: Path, name: str) -> None:
    """Texts become PyLate's very tokens, and documents its sums of best cosines, in its order."""
    path = converted_colbert(name, tmp_path)

    verdict = gguf_file.judge(gguf_file.read(path))
    assert (verdict.kind, verdict.exact) == ("reranker", True)
    for found in colbert_comparisons(name, path, flash_attn="off"):
        assert found.ids == tuple(found.expected_ids)
        np.testing.assert_allclose(found.actual, found.expected, rtol=0, atol=LARGEST_SUM)
        order = found.expected[np.argsort(-found.actual, kind="stable")]
        assert np.diff(order).max(initial=-1) <= 2 * LARGEST_SUM


def test_what_fills_up_a_query_counts() -> None:
    """The references tell apart whether the filling is seen by the query's own tokens."""
    hidden, seen = (
        np.array([score for one in recorded_colbert(name) for score in one["scores"]])
        for name in ("ModernColBERT", "ModernColBERT, attended")
    )
    assert np.abs(hidden - seen).max() > 1000 * LARGEST_SUM


def _edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config_sentence_transformers.json", {"query_prefix": "[Ask] "}, "no marker '\\[Ask\\] '"),
        ("config_sentence_transformers.json", {"prompts": {"query": "find: "}}, "prompts"),
        ("config_sentence_transformers.json", {"query_length": 80}, "half its window"),
        ("config_sentence_transformers.json", {"model_type": "MultiVectorEncoder"}, "PyLate's"),
        ("1_Dense/config.json", {"activation_function": "torch.nn.Tanh"}, "has an activation"),
    ],
)
def test_what_no_file_can_say_is_refused(
    tmp_path: Path, file: str, change: dict[str, object], message: str
) -> None:
    """A recipe that would be served otherwise than it was trained is refused with its reason."""
    write_pylate(tmp_path, expands=True)
    _edit(tmp_path / file, **change)

    with pytest.raises(ModelFileError, match=message):
        convert(tmp_path, tmp_path / "x.gguf", "f32", on_written=lambda _done, _total: None)


def test_an_encoder_without_a_projection_is_no_colbert(tmp_path: Path) -> None:
    """A plain BERT is refused."""
    write_stanford(tmp_path)
    _edit(tmp_path / "config.json", architectures=["BertModel"])

    with pytest.raises(ModelFileError, match="without a score head"):
        convert(tmp_path, tmp_path / "x.gguf", "f32", on_written=lambda _done, _total: None)
