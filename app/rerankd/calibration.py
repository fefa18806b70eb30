"""From logits to scores: the model's own scale, and one fitted to judged data."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Annotated

from msgspec import Meta, Struct


class Knot(Struct, frozen=True, array_like=True):
    """A point of a curve: of documents with this logit, this share is relevant."""

    logit: float
    share: Annotated[float, Meta(ge=0, le=1)]


class Calibration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What maps a model's logits to the share of documents that people judged relevant.

    It never changes the order of documents. Without `knots`, it is a sigmoid.
    """

    temperature: Annotated[float, Meta(gt=0)] = 1.0
    """What logits are divided by: over 1 where the model is too sure of itself."""
    shift: float = 0.0
    """The logit at which half of the documents are relevant."""
    knots: tuple[Knot, ...] = ()
    """An isotonic curve, ascending in both, straight between its knots."""
    pairs: int = 0
    """Judged pairs that it was fitted on."""
    relevant: int = 0
    """How many of them are relevant."""
    measured: float = 0.0
    """When it was fitted, in Unix seconds."""

    def score(self, logit: float) -> float:
        """Return the share of documents with such a logit that are relevant."""
        if not self.knots:
            return sigmoid((logit - self.shift) / self.temperature)
        at = bisect_right(self.knots, logit, key=_logit_of)
        if at in {0, len(self.knots)}:
            return self.knots[min(at, len(self.knots) - 1)].share
        low, high = self.knots[at - 1], self.knots[at]
        way = (logit - low.logit) / (high.logit - low.logit)
        return min(high.share, low.share + way * (high.share - low.share))


def _logit_of(knot: Knot) -> float:
    return knot.logit


def sigmoid(logit: float) -> float:
    """Return 1/(1+e^-logit) without overflow."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    grown = math.exp(logit)
    return grown / (1.0 + grown)
