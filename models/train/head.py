"""The last few numbers: how the parts of a score are weighed, and what makes it a probability."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from . import encoder
from .data import JUNK
from .encoder import Weights

LISTS = 80
BATCH = 32
RANDOM = 6
RELEVANT_LOGIT, OTHER_LOGIT = 2.2, -3.2
"""Logits of the median answer (0.90), and of the text that 9 of 10 random ones are below (0.04)."""


@dataclass(frozen=True)
class Head:
    """`logit = scale · (cosine, match and lexical by their weights) + bias`."""

    cosine: float
    match: float
    lexical: float
    scale: float
    bias: float


class Comparer:
    """Compares texts by their vectors; each text is encoded once."""

    def __init__(self, weights: Weights, idf: Tensor, tokenizer: Tokenizer) -> None:
        self._weights, self._idf, self._tokenizer = weights, idf, tokenizer
        self._known: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    @torch.no_grad()
    def parts(self, query: str, passages: Sequence[str]) -> Tensor:
        """Return `[passages, 3]`: cosine, best matches, and words that occur as they are."""
        self.encode([query, *passages])
        mean, tokens, ids = self._known[query]
        shares = self._idf[ids]
        shares = shares / shares.sum().clamp_min(1e-6)
        rows = []
        for other_mean, other_tokens, other_ids in (self._known[one] for one in passages):
            best = (tokens @ other_tokens.T).amax(1) if len(other_ids) else -torch.ones(len(ids))
            same = torch.isin(ids, other_ids).float()
            rows.append(torch.stack([mean @ other_mean, shares @ best, shares @ same]))
        return torch.stack(rows)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> None:
        """Encode what isn't known yet, texts of like lengths together."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        rows = encoder.encode_ids(self._tokenizer, new)
        order = sorted(range(len(new)), key=lambda number: len(rows[number]))
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            found = encoder.encode(self._weights, [rows[number] for number in some])
            for place, number in enumerate(some):
                counts = found.counts[place]
                self._known[new[number]] = (
                    found.mean[place],
                    found.tokens[place][counts],
                    found.ids[place][counts],
                )


def lists_of(rows: Sequence[dict[str, Any]]) -> list[tuple[str, list[str], int]]:
    """Return questions with their passage first, mined negatives, random ones, and junk last.

    The number tells where the random ones begin.
    """
    chance = random.Random("head")
    chosen = chance.sample(list(rows), min(LISTS, len(rows)))
    found = []
    for row in chosen:
        negatives = list(row["negatives"])
        others = [str(chance.choice(rows)["passage"]) for _ in range(RANDOM)]
        passages = [row["passage"], *negatives, *others, chance.choice(JUNK)]
        found.append((str(row["query"]), passages, 1 + len(negatives)))
    return found


def fit(
    weights: Weights, idf: Tensor, tokenizer: Tokenizer, rows: Sequence[dict[str, Any]]
) -> Head:
    """Fit the head on training questions: weights by their order, then two points of the scale."""
    lists = lists_of(rows)
    comparer = Comparer(weights, idf, tokenizer)
    comparer.encode([text for query, passages, _ in lists for text in (query, *passages)])
    measured = [comparer.parts(query, passages) for query, passages, _ in lists]
    mix = _weigh(measured)
    relevant = torch.stack([(one @ mix)[0] for one in measured])
    other = torch.cat(
        [(one @ mix)[begin:] for one, (_, _, begin) in zip(measured, lists, strict=True)]
    )
    middle, edge = relevant.median().item(), other.quantile(0.9).item()
    scale = (RELEVANT_LOGIT - OTHER_LOGIT) / max(middle - edge, 1e-3)
    return Head(*mix.tolist(), scale=scale, bias=RELEVANT_LOGIT - scale * middle)


def _weigh(measured: Sequence[Tensor]) -> Tensor:
    """Return weights, none below 0, that put most answers first; they sum to 1."""
    raw = torch.tensor([0.0, 0.0, -2.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([raw], max_iter=60)

    def loss() -> Tensor:
        optimizer.zero_grad()
        mix = torch.softmax(raw, 0)
        # The sharpness is fixed: only the parts' proportion is to be found.
        found = torch.stack([-torch.log_softmax(20 * one @ mix, 0)[0] for one in measured]).mean()
        found.backward()
        return found

    optimizer.step(loss)
    return torch.softmax(raw, 0).detach()
