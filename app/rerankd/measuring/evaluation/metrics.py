"""nDCG@10, MRR@10 and recall@k of rankings, computed by trec_eval's code."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from rerankd.errors import SettingsError

CUTOFF = 10
INSTALL_PYTREC_EVAL = "pip install pytrec-eval-terrier"
"""Names the package and not our extra, which no index has."""

_QUERY = "q"
"""The name of the one query that an evaluator is made for."""


class Measures:
    """Measures one query's rankings; 0 is worst and 1 best."""

    def __init__(self, recall_at: int = CUTOFF) -> None:
        """Raise SettingsError, which says what to install, where the library is missing."""
        self.names = (f"nDCG@{CUTOFF}", f"MRR@{CUTOFF}", f"recall@{recall_at}")
        self._recall = f"recall_{recall_at}"
        self._library = _trec_library()

    def of(self, grades: Mapping[str, int], ranking: Sequence[str]) -> tuple[float, ...]:
        """Return a value for each of `names`: grades by document id, document ids best first.

        nDCG takes a grade as its gain, recall and MRR every grade over 0 as relevant; what was
        never ranked counts against nDCG and recall. No ranking at all is 0 throughout.
        """
        if not ranking:
            return (0.0,) * len(self.names)
        gain = f"ndcg_cut_{CUTOFF}"
        evaluator = self._library.RelevanceEvaluator(
            {_QUERY: dict(grades)}, {gain, "recip_rank", self._recall}
        )
        whole = evaluator.evaluate({_QUERY: _as_scores(ranking)})[_QUERY]
        # trec_eval's reciprocal rank has no cutoff, so the ranking is cut beforehand.
        top = evaluator.evaluate({_QUERY: _as_scores(ranking[:CUTOFF])})[_QUERY]
        return (float(whole[gain]), float(top["recip_rank"]), float(whole[self._recall]))


def _as_scores(ranking: Sequence[str]) -> dict[str, float]:
    """Return scores that fall with the rank: trec_eval would break ties by id."""
    return {key: float(len(ranking) - place) for place, key in enumerate(ranking)}


def _trec_library() -> Any:
    try:
        # Imported here because only this command needs it, and it is an extra.
        return importlib.import_module("pytrec_eval")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"`rerankd eval` needs one more package: {INSTALL_PYTREC_EVAL}"
        ) from error
