"""Fitting what maps logits to the share of relevant documents: a sigmoid, or an isotonic curve."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rerankd.calibration import Calibration, Knot
from rerankd.measuring.evaluation.bootstrap import Values

Labels = NDArray[np.bool_]

ENOUGH_PAIRS, ENOUGH_RELEVANT = 1000, 200
"""Judged pairs, and relevant ones, from which on an isotonic curve is tried."""
KNOTS = 20
"""Groups of equal size whose shares an isotonic curve follows."""
NEWTON_STEPS = 100
CLOSE = 1e-9
LEAST = 1e-12
"""The least probability that log loss counts with."""


def fit_calibration(logits: Values, relevant: Labels) -> Calibration | None:
    """Fit a calibration to judged pairs; None where higher logits are not more relevant.

    The curve is isotonic where there is enough data, and it predicts every second pair better
    than a sigmoid when both are fitted on the others.
    """
    sigmoid = fit_sigmoid(logits, relevant)
    if sigmoid is None or len(logits) < ENOUGH_PAIRS or relevant.sum() < ENOUGH_RELEVANT:
        return sigmoid
    order = np.argsort(logits, kind="stable")
    fitted, tried = order[::2], order[1::2]
    rival = fit_sigmoid(logits[fitted], relevant[fitted])
    curve = fit_isotonic(logits[fitted], relevant[fitted])
    if rival is None or log_loss(curve, logits[tried], relevant[tried]) < log_loss(
        rival, logits[tried], relevant[tried]
    ):
        return fit_isotonic(logits, relevant)
    return sigmoid


def fit_sigmoid(logits: Values, relevant: Labels) -> Calibration | None:
    """Fit temperature and shift by maximum likelihood; None where the slope isn't positive.

    Targets are drawn in from 0 and 1 as Platt does it, so that a perfect separation has a fit.
    """
    count = int(relevant.sum())
    high, low = (count + 1) / (count + 2), 1 / (len(relevant) - count + 2)
    targets = np.where(relevant, high, low)
    centre, width = float(logits.mean()), float(logits.std()) or 1.0
    columns = np.stack([(logits - centre) / width, np.ones_like(logits)], axis=1)
    weights = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        shares = 1 / (1 + np.exp(-np.clip(columns @ weights, -500, 500)))
        gradient = columns.T @ (targets - shares)
        hessian = (columns * (shares * (1 - shares))[:, None]).T @ columns + CLOSE * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        step /= max(1.0, float(np.abs(step).max()))
        weights += step
        if float(np.abs(step).max()) < CLOSE:
            break
    slope = float(weights[0]) / width
    if slope <= 0:
        return None
    shift = centre - float(weights[1]) / slope
    return _calibration(relevant, temperature=1 / slope, shift=shift)


def fit_isotonic(logits: Values, relevant: Labels) -> Calibration:
    """Fit a curve that never falls to the shares of `KNOTS` groups of pairs, by their logits."""
    order = np.argsort(logits, kind="stable")
    blocks: list[_Block] = []
    for group in np.array_split(order, min(KNOTS, len(order))):
        mean = float(logits[group].mean())
        blocks.append(_Block(len(group), int(relevant[group].sum()), mean, mean))
        while len(blocks) > 1 and blocks[-2].share >= blocks[-1].share:
            last, before = blocks.pop(), blocks.pop()
            blocks.append(before.joined(last))
    ends = dict.fromkeys((end, one.share) for one in blocks for end in (one.first, one.last))
    return _calibration(relevant, knots=tuple(Knot(*end) for end in ends))


class _Block(NamedTuple):
    """Neighbouring groups of pairs with one share."""

    pairs: int
    hits: int
    first: float
    last: float

    @property
    def share(self) -> float:
        return (self.hits + 0.5) / (self.pairs + 1)

    def joined(self, after: _Block) -> _Block:
        return _Block(self.pairs + after.pairs, self.hits + after.hits, self.first, after.last)


def log_loss(found: Calibration, logits: Values, relevant: Labels) -> float:
    """Return the mean of minus the logarithm of what was predicted for each pair's judgement."""
    return log_loss_of(np.array([found.score(one) for one in logits.tolist()]), relevant)


def log_loss_of(shares: Values, relevant: Labels) -> float:
    """Return the log loss of predicted shares."""
    right = np.where(relevant, shares, 1 - shares)
    return float(-np.log(np.clip(right, LEAST, None)).mean())


def _calibration(
    relevant: Labels,
    *,
    temperature: float = 1.0,
    shift: float = 0.0,
    knots: tuple[Knot, ...] = (),
) -> Calibration:
    return Calibration(
        temperature=temperature,
        shift=shift,
        knots=knots,
        pairs=len(relevant),
        relevant=int(relevant.sum()),
        measured=time.time(),
    )
