"""One step of the engine: run, checked, and described."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from rerankd.domain import Backend, GivenUp, StepFacts, StepLimits
from rerankd.errors import EngineFailure
from rerankd.scheduling.fair_queue import Share

logger = logging.getLogger(__name__)


def facts_of_step(shares: Sequence[Share], limits: StepLimits, seconds: float) -> StepFacts:
    return StepFacts(
        requests=len(shares),
        documents=sum(len(share.rows) for share in shares),
        tokens=sum(share.decoded_tokens for share in shares),
        budget=limits.step_tokens,
        seconds=seconds,
    )


def run_step(backend: Backend, shares: Sequence[Share]) -> list[list[float] | EngineFailure]:
    """Run a step; when it fails, run each job's share alone so that only the cause fails."""
    try:
        return [_finite(scores) for scores in _counted(backend, shares)]
    except GivenUp as error:
        if len(shares) == 1:
            return [EngineFailure(str(error))]
        return [outcome for share in shares for outcome in run_step(backend, [share])]
    except Exception as error:  # this loop answers others, so it must live on
        logger.exception("a step of %d requests failed", len(shares))
        if len(shares) > 1:
            return [outcome for share in shares for outcome in run_step(backend, [share])]
        return [EngineFailure(f"the engine failed on this request: {error}")]


def _counted(backend: Backend, shares: Sequence[Share]) -> list[list[float]]:
    results = backend.run([share.prompt for share in shares])
    if [len(scores) for scores in results] != [len(share.rows) for share in shares]:
        raise EngineFailure("the engine returned the wrong number of scores")
    return results


def _finite(scores: list[float]) -> list[float] | EngineFailure:
    if all(math.isfinite(score) for score in scores):
        return scores
    logger.error("the engine returned a score that is not a number")
    return EngineFailure("the engine returned a score that is not a number")
