"""Calibrations fitted to judged scores, shown on others, and kept for serving."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.calibration import Calibration, Knot, sigmoid
from rerankd.deployments.kept_calibrations import CALIBRATIONS_FILE, keep_calibration
from rerankd.domain import RankedResult, RankRequest, Truncation
from rerankd.measuring.evaluation.bootstrap import Values, wilson
from rerankd.measuring.evaluation.calibrating import (
    ENOUGH_PAIRS,
    Labels,
    fit_calibration,
    fit_isotonic,
    fit_sigmoid,
)
from rerankd.measuring.evaluation.reliability import JudgedScores, reliability_of
from rerankd.prompts.layouts import PairLayout

from support.serving import FakeEngine, service_of

pytestmark = pytest.mark.slow


def drawn(pairs: int, temperature: float, shift: float) -> tuple[Values, Labels]:
    """Return logits, and judgements that follow a sigmoid of them."""
    rng = np.random.default_rng(7)
    logits = rng.normal(0, 3, pairs)
    shares = 1 / (1 + np.exp(-(logits - shift) / temperature))
    return logits, rng.random(pairs) < shares


def by_queries(logits: Values, relevant: Labels, of: int = 10) -> JudgedScores:
    return JudgedScores(logits, relevant, np.floor(np.arange(len(logits)) / of))


def test_a_sigmoid_is_found_again() -> None:
    """From 20,000 judgements that follow one, its temperature and shift come back."""
    found = fit_sigmoid(*drawn(20_000, 2.5, 1.5))
    assert found is not None
    assert found.temperature == pytest.approx(2.5, rel=0.05)
    assert found.shift == pytest.approx(1.5, abs=0.1)
    assert (found.pairs, found.knots) == (20_000, ())


def test_a_perfect_separation_has_a_fit() -> None:
    """Its scores stay away from 0 and 1, as far as the number of pairs demands."""
    found = fit_sigmoid(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True]))
    assert found is not None
    assert 0.6 < found.score(2.0) < 0.99


def test_scores_that_mean_nothing_are_not_fitted() -> None:
    """Where higher logits are less relevant, no calibration could keep the order."""
    logits, relevant = drawn(1000, 1.0, 0.0)
    found = reliability_of(by_queries(-logits, relevant), 1)
    assert found.calibration is None
    assert "not more relevant" in found.note


def test_few_judgements_are_shown_but_not_fitted() -> None:
    """Bins and counts are there, thresholds are not."""
    found = reliability_of(by_queries(*drawn(60, 1.0, 0.0)), 1)
    assert found.calibrated is found.calibration is None
    assert found.thresholds == ()
    assert "fewer than 20" in found.note
    assert sum(one.pairs for one in found.model.bins) == found.shown_pairs


def test_an_isotonic_curve_needs_much_data_and_a_reason() -> None:
    """A step is no sigmoid; with few pairs the sigmoid stays."""
    logits, _ = drawn(20_000, 1.0, 0.0)
    rng = np.random.default_rng(3)
    step = rng.random(len(logits)) < np.where(logits > 1, 0.6, 0.05)
    curve = fit_calibration(logits, step)
    few = fit_calibration(logits[: ENOUGH_PAIRS - 1], step[: ENOUGH_PAIRS - 1])

    assert curve is not None
    assert few is not None
    assert curve.knots
    assert not few.knots
    assert curve.score(2.0) == pytest.approx(0.6, abs=0.03)
    assert curve.score(0.0) == pytest.approx(0.05, abs=0.03)


@given(data=st.lists(st.tuples(st.floats(-30, 30), st.booleans()), min_size=1, max_size=80))
def test_a_curve_never_falls_and_never_says_certain(data: list[tuple[float, bool]]) -> None:
    """Whatever the judgements, and beyond its ends."""
    logits = np.array([one for one, _ in data])
    curve = fit_isotonic(logits, np.array([one for _, one in data]))
    scores = [curve.score(one) for one in np.linspace(-40, 40, 50).tolist()]
    assert scores == sorted(scores)
    assert 0 < scores[0] <= scores[-1] < 1


def test_calibrated_scores_are_reliable_on_queries_that_the_fit_has_not_seen() -> None:
    """What is too sure of itself by a factor of three is put right; bins have counts and bounds."""
    found = reliability_of(by_queries(*drawn(8_000, 3.0, 2.0)), 1)
    assert found.calibrated is not None
    assert found.calibrated.error < 0.05 < found.model.error
    assert found.calibrated.log_loss < found.model.log_loss
    assert found.shown_pairs == 4_000
    assert sum(one.pairs for one in found.calibrated.bins) == 4_000
    assert all(one.interval.low <= one.share <= one.interval.high for one in found.model.bins)
    assert msgspec.json.decode(msgspec.json.encode(found))["calibration"]["pairs"] == 4_000


def test_thresholds_reach_what_they_are_for() -> None:
    """Chosen on one half, precision and recall of the other half are near the target."""
    found = reliability_of(by_queries(*drawn(20_000, 1.0, 0.0)), 1)
    by_purpose = {(one.purpose, one.target): one for one in found.thresholds}
    precise, complete = by_purpose["precision", 0.9], by_purpose["recall", 0.9]
    junk = by_purpose["drop junk", 0.99]

    assert precise.precision is not None
    assert complete.recall is not None
    assert precise.precision.mean == pytest.approx(0.9, abs=0.03)
    assert precise.precision.interval.low < precise.precision.mean
    assert complete.recall.mean == pytest.approx(0.9, abs=0.03)
    assert junk.logit < complete.logit < precise.logit
    assert precise.model_score == sigmoid(precise.logit)


def test_wilson_bounds_are_the_published_ones() -> None:
    """Of 0 in 10 and of 5 in 10; a share of 0 isn't certain."""
    assert wilson(0, 10).high == pytest.approx(0.2775, abs=1e-4)
    assert wilson(5, 10).low == pytest.approx(0.2366, abs=1e-4)


# Served


KEPT = Calibration(temperature=2.0, shift=1.0)
REQUEST = RankRequest(query="q", documents=("one", "one two three", "one two"))


def served(folder: Path, *requests: RankRequest, **settings: Any) -> list[RankedResult]:
    async def whole() -> list[RankedResult]:
        service = service_of(FakeEngine(), start=False, state_dir=str(folder), **settings)
        await service.start()
        async with service.deployments.use(None) as runtime:
            keep_calibration(runtime.target, KEPT)
        await service.close()
        service = service_of(FakeEngine(), start=False, state_dir=str(folder), **settings)
        await service.start()
        found = [await service.rank(one) for one in requests]
        (status,) = service.deployments.statuses
        assert status.facts
        assert status.facts.score_scale == ("model" if settings else "calibrated")
        await service.close()
        return found

    return asyncio.run(whole())


def test_a_kept_calibration_is_applied_where_the_model_is_loaded(tmp_path: Path) -> None:
    """Scores say so; logits, order and cached scores are those of before."""
    raw = msgspec.structs.replace(REQUEST, raw_scores=True)
    logits, calibrated = served(tmp_path, raw, REQUEST)
    expected = [KEPT.score(one.score) for one in logits.results]

    assert (logits.score_scale, calibrated.score_scale) == ("logit", "calibrated")
    assert [one.score for one in calibrated.results] == expected
    assert [one.index for one in calibrated.results] == [1, 2, 0]
    assert calibrated.cached == 3


LONG = RankRequest(
    query="q",
    documents=(" ".join(map(str, range(200))), "short"),
    truncation=Truncation(overflow="chunk"),
    chunk_score="mean_top_k",
)


def test_what_it_was_not_fitted_on_is_warned_of(tmp_path: Path) -> None:
    """`rerankd eval` asks with neither an instruction nor the mean of chunks."""
    short = msgspec.structs.replace(LONG, documents=("short",))
    best = msgspec.structs.replace(LONG, chunk_score="max")
    raw = msgspec.structs.replace(LONG, raw_scores=True)
    mean, *others = served(tmp_path, LONG, short, best, raw)

    assert mean.score_scale == "calibrated"
    assert [one for one in mean.warnings if "calibrated" in one] == [
        'calibrated scores may be off: the calibration was fitted without chunk_score: "mean_top_k"'
    ]
    assert not any("calibrated" in text for one in others for text in one.warnings)


def test_an_instruction_is_warned_of_where_the_model_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is ignored, the scores are those that the calibration was fitted on."""
    asked = msgspec.structs.replace(REQUEST, instruction="only mammals")
    (ignored,) = served(tmp_path, asked)
    monkeypatch.setattr(PairLayout, "takes_instruction", True)
    (taken,) = served(tmp_path, asked)

    expected = "calibrated scores may be off: the calibration was fitted without an instruction"
    assert expected not in ignored.warnings
    assert expected in taken.warnings


def test_it_is_not_applied_where_it_does_not_hold(tmp_path: Path) -> None:
    """Hybrid scores have another scale, and the setting turns it off."""
    hybrid = msgspec.structs.replace(REQUEST, hybrid=1.0)
    (found,) = served(tmp_path, hybrid)
    (off,) = served(tmp_path, REQUEST, calibration="off")
    assert (found.score_scale, off.score_scale) == ("model", "model")


def test_min_score_is_on_the_calibrated_scale(tmp_path: Path) -> None:
    """As the thresholds that `rerankd eval` recommends are."""
    least = KEPT.score(-2.0)
    (found,) = served(tmp_path, msgspec.structs.replace(REQUEST, min_score=least))
    assert [one.index for one in found.results] == [1, 2]
    assert found.below_min_score == 1


@pytest.mark.parametrize("content", [b"{", b'{"x": {"temperature": 0}}', b"\xff"])
def test_a_damaged_file_leaves_the_models_own_scores(tmp_path: Path, content: bytes) -> None:
    """With a warning, and not with an end of the start."""
    (tmp_path / CALIBRATIONS_FILE).write_bytes(content)

    async def whole() -> RankedResult:
        service = service_of(FakeEngine(), start=False, state_dir=str(tmp_path))
        await service.start()
        found = await service.rank(REQUEST)
        await service.close()
        return found

    assert asyncio.run(whole()).score_scale == "model"


def test_between_knots_the_curve_is_straight() -> None:
    """And level beyond them."""
    curve = Calibration(knots=(Knot(-1.0, 0.1), Knot(1.0, 0.5)))
    scores = [curve.score(one) for one in (-9.0, -1.0, 0.0, 1.0, 9.0)]
    assert scores == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.5])
