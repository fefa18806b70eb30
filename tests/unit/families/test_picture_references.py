"""Pictures score as with transformers by the recipe of Qwen3-VL-Reranker's makers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from rerankd.domain import Pixels
from rerankd.engine.llama import mtmd

from support.picture_checkpoint import picture_records, write_mmproj, write_pictured
from support.picture_references import (
    LARGEST,
    LARGEST_Q8_0,
    USUAL_Q8_0,
    PictureComparison,
    decoded,
    picture_comparisons,
)

pytestmark = pytest.mark.skipif(not mtmd.is_built(), reason="the engine's build has no libmtmd")


class Scored(NamedTuple):
    """Every request with its scores, and the pictures in them."""

    requests: list[PictureComparison]
    pictures: dict[str, Pixels]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    model, mmproj = write_pictured(tmp_path_factory.mktemp("pictured"))
    pictures = decoded()
    return Scored(list(picture_comparisons(model, mmproj, pictures, flash_attn="off")), pictures)


def test_pictures_score_as_the_reference(scored: Scored) -> None:
    """Small, large, narrow, transparent and turned ones, with texts and without, as query too."""
    for found, _, _ in scored.requests:
        np.testing.assert_allclose(found.actual, found.expected, rtol=0, atol=LARGEST)
        order = found.expected[np.argsort(-found.actual, kind="stable")]
        assert np.diff(order).max(initial=-1) <= 2 * LARGEST


def test_a_projector_in_q8_0_scores_about_the_same(tmp_path: Path, scored: Scored) -> None:
    """Far less apart than the scores are spread: the largest and the usual difference."""
    model, _ = write_pictured(tmp_path)
    metadata = picture_records()["mmproj"]
    mmproj = write_mmproj(metadata, tmp_path / "mmproj-Q8_0.gguf", quantized=True)
    found = picture_comparisons(model, mmproj, scored.pictures, flash_attn="off")
    apart = np.concatenate([np.abs(one.compared.actual - one.compared.expected) for one in found])
    assert apart.max() <= LARGEST_Q8_0
    assert np.median(apart) <= USUAL_Q8_0


def test_pictures_are_scaled_as_by_the_reference(scored: Scored) -> None:
    for _, expected, sizes in scored.requests:
        assert sizes == expected


def test_two_files_of_one_picture_score_alike(scored: Scored) -> None:
    """They are the same pixels, so they are the same picture."""
    first = scored.requests[0].compared
    at = {name: number for number, name in enumerate(first.documents)}
    assert scored.pictures["photo"] == scored.pictures["twin"]
    assert first.actual[at["[photo]"]] == first.actual[at["[twin]"]]


def test_picture_references_spread_over_more_than_they_may_differ() -> None:
    scores = [score for one in picture_records()["requests"] for score in one["scores"]]
    assert np.ptp(scores) > 250 * LARGEST
