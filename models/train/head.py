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

LISTS = 500
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


@torch.no_grad()
def parts(
    weights: Weights, rarity: Tensor, tokenizer: Tokenizer, query: str, passages: Sequence[str]
) -> Tensor:
    """Return `[passages, 3]`: cosine, best matches, and words that occur as they are."""
    asked = encoder.encode(weights, encoder.encode_ids(tokenizer, [query]))
    told = encoder.encode(weights, encoder.encode_ids(tokenizer, passages))
    cosines, matches = encoder.compare(rarity, asked, told)
    shares = encoder.token_weights(rarity, asked)[0]
    same = torch.stack(
        [
            torch.isin(asked.ids[0], row[seen])
            for row, seen in zip(told.ids, told.counts, strict=True)
        ]
    )
    lexical = (same * shares).sum(-1)
    return torch.stack([cosines[0], matches[0], lexical], dim=1)


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
    weights: Weights, rarity: Tensor, tokenizer: Tokenizer, rows: Sequence[dict[str, Any]]
) -> Head:
    """Fit the head on training questions: weights by their order, then two points of the scale."""
    lists = lists_of(rows)
    measured = [parts(weights, rarity, tokenizer, query, passages) for query, passages, _ in lists]
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
