"""The scale of an answer's scores: logits, the model's own scores, or calibrated ones."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from rerankd.calibration import sigmoid
from rerankd.deployments.runtime import Runtime
from rerankd.domain import RankRequest, ScoreScale


class Scale(Struct, frozen=True):
    """A scale, and which scores on it are worth returning."""

    name: ScoreScale
    score: Callable[[float], float]
    """Maps a logit to its score; never falls."""
    least: float | None = None
    """Scores below it are dropped."""

    def keeps(self, logit: float) -> bool:
        """Return whether a document with this logit is returned."""
        return self.least is None or self.score(logit) >= self.least


def scale_of(runtime: Runtime, request: RankRequest) -> Scale:
    """Return the scale that a request asks for, calibrated where the model is.

    A calibration was fitted to the model's scores alone, so it doesn't hold for hybrid ones.
    """
    if request.raw_scores:
        return Scale("logit", float, request.min_score)
    calibration = runtime.target.calibration
    if calibration and not request.hybrid:
        return Scale("calibrated", calibration.score, request.min_score)
    ordered_only = not runtime.target.verdict.calibrated
    return Scale("uncalibrated" if ordered_only else "model", sigmoid, request.min_score)
