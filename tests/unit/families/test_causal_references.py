"""Causal rerankers score as transformers does by the recipes of their makers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from rerankd.prompts.chunking import GOOD_ENOUGH, SPARE
from rerankd.sources import gguf as gguf_file

from support.causal_checkpoints import KINDS, records, write
from support.causal_references import CUT, Cut, comparisons, limit_of

pytestmark = pytest.mark.slow


class Model(NamedTuple):
    """A kind of model and its file."""

    name: str
    path: Path


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    name = request.param
    return Model(name, write(name, tmp_path_factory.mktemp("causal") / "model.gguf"))


def test_a_file_scores_as_the_reference(model: Model) -> None:
    """Requests become the recipe's very tokens, and scores its logits, in the same order."""
    largest, requests, cut = KINDS[model.name].largest, records()[model.name]["requests"], 0
    for found, cuts in comparisons(model.name, requests, model.path, flash_attn="off"):
        assert found.expected_ids == found.ids
        np.testing.assert_allclose(found.actual, found.expected, rtol=0, atol=largest)
        order = found.expected[np.argsort(-found.actual, kind="stable")]
        assert np.diff(order).max(initial=-1) <= 2 * largest
        for one in cuts:
            cut += 1
            assert_cut_alike(one)
    assert bool(cut) == (limit_of(model.name) == CUT)


def assert_cut_alike(cut: Cut) -> None:
    """Check that a prompt is the recipe's without a few of the document's last tokens.

    The last that is left may be part of a word, where a script has no blanks.
    """
    lost = len(cut.expected) - len(cut.actual)
    same = _alike(cut.expected, cut.actual) + _alike(cut.expected[::-1], cut.actual[::-1])
    assert 0 <= lost <= SPARE + CUT // GOOD_ENOUGH
    assert same >= len(cut.actual) - 1


def _alike(first: list[int], second: list[int]) -> int:
    """Return how many ids two rows have in common at their beginning."""
    differs = (at for at, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1])
    return next(differs, len(second))


def test_a_file_as_the_converter_names_it_is_known(model: Model) -> None:
    """Its metadata alone says which family it is of."""
    verdict = gguf_file.judge(gguf_file.read(model.path))

    assert verdict.family is not None
    assert (verdict.kind, verdict.family.name) == ("reranker", KINDS[model.name].family)
    assert verdict.exact


@pytest.mark.parametrize("name", KINDS)
def test_references_spread_over_more_than_they_may_differ(name: str) -> None:
    """What is compared tells models and texts apart."""
    scores = [score for request in records()[name]["requests"] for score in request["scores"]]
    assert np.ptp(scores) > 250 * KINDS[name].largest
