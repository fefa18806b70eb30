"""Held-out sets with candidates that every ranking shares, and figures on them.

The sets are written as `rerankd eval` reads them, in BM25's order, so that the running service
can be measured on the same lists.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bm25s
import torch
from tokenizers import Tokenizer
from torch import Tensor

from . import data, encoder
from .encoder import Weights
from .head import Comparer, Head

QUERIES = 150
BY_BM25, BY_COSINE, BY_CHANCE = 12, 12, 8
Scorer = Callable[[str, Sequence[str]], Sequence[float]]


@torch.no_grad()
def mean_vectors(weights: Weights, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Return `[texts, WIDTH]` vectors of length 1."""
    rows = encoder.encode_ids(tokenizer, texts)
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    found = torch.zeros(len(rows), encoder.WIDTH)
    for start in range(0, len(order), 32):
        some = order[start : start + 32]
        ids, mask = encoder.pad([rows[number] for number in some])
        hidden = encoder.forward(weights, ids, mask) * mask[..., None]
        found[some] = torch.nn.functional.normalize(hidden.sum(1), dim=-1)
    return found


def write_lists(base: Weights, tokenizer: Tokenizer, work: Path) -> None:
    """Write candidates of each held-out set, found by BM25, by the base model, and by chance."""
    folder = work / "lists"
    folder.mkdir(exist_ok=True)
    for path in sorted((work / "sets").glob("*.jsonl")):
        if not (folder / path.name).exists():
            data.write(folder / path.name, _lists(base, tokenizer, path))


def _lists(base: Weights, tokenizer: Tokenizer, path: Path) -> list[dict[str, Any]]:
    items = data.read(path)
    passages = [str(item["passage"]) for item in items]
    chance = random.Random(path.stem)
    chosen = chance.sample(range(len(items)), min(QUERIES, len(items)))
    queries = [str(items[number]["query"]) for number in chosen]
    index = bm25s.BM25()
    index.index(bm25s.tokenize(passages, show_progress=False), show_progress=False)
    asked = bm25s.tokenize(queries, show_progress=False, return_ids=False)
    vectors = mean_vectors(base, tokenizer, passages)
    cosines = mean_vectors(base, tokenizer, queries) @ vectors.T
    rows = []
    for number, words, near, query in zip(chosen, asked, cosines, queries, strict=True):
        scores = torch.tensor(index.get_scores(words))
        found = [
            number,
            *scores.topk(min(BY_BM25, len(items))).indices.tolist(),
            *near.topk(min(BY_COSINE, len(items))).indices.tolist(),
            *chance.sample(range(len(items)), min(BY_CHANCE, len(items))),
        ]
        by_bm25 = sorted(dict.fromkeys(found), key=lambda one: (-scores[one].item(), one))
        documents = [
            {"text": passages[one], "relevance": int(one == number), "bm25": scores[one].item()}
            for one in by_bm25
        ]
        rows.append({"query": query, "documents": documents})
    return rows


def ndcg(scores: Sequence[float], grades: Sequence[int], depth: int = 10) -> float:
    """Return nDCG with one relevant document; ties count as their middle place."""
    own = scores[grades.index(1)]
    above = sum(score > own for score in scores)
    place = above + (sum(score == own for score in scores) - 1) / 2
    return 1 / math.log2(place + 2) if place < depth else 0.0


def figures(work: Path, name: str, score: Scorer) -> float:
    """Return a ranking's mean nDCG@10 on one set."""
    found = []
    for row in data.read(work / "lists" / f"{name}.jsonl"):
        texts = [one["text"] for one in row["documents"]]
        found.append(
            ndcg(list(score(row["query"], texts)), [one["relevance"] for one in row["documents"]])
        )
    return sum(found) / len(found)


def bm25_figures(work: Path, name: str) -> float:
    """Return BM25's own mean nDCG@10 on one set, its statistics from the whole set."""
    rows = data.read(work / "lists" / f"{name}.jsonl")
    found = [
        ndcg(
            [one["bm25"] for one in row["documents"]],
            [one["relevance"] for one in row["documents"]],
        )
        for row in rows
    ]
    return sum(found) / len(found)


def late_scorer(weights: Weights, idf: Tensor, head: Head, tokenizer: Tokenizer) -> Scorer:
    """Return the model as a ranking."""
    mix = torch.tensor([head.cosine, head.match, head.lexical])
    comparer = Comparer(weights, idf, tokenizer)

    def score(query: str, texts: Sequence[str]) -> list[float]:
        measured = comparer.parts(query, texts) @ mix
        return (measured * head.scale + head.bias).tolist()

    return score


def cosine_scorer(weights: Weights, tokenizer: Tokenizer) -> Scorer:
    """Return cosines of mean vectors as a ranking."""
    idf = torch.ones(len(weights["embeddings.word_embeddings.weight"]))
    comparer = Comparer(weights, idf, tokenizer)
    return lambda query, texts: comparer.parts(query, texts)[:, 0].tolist()


def names(work: Path) -> list[str]:
    """Return the sets' names."""
    return [path.stem for path in sorted((work / "lists").glob("*.jsonl"))]


def report(work: Path, rankings: dict[str, dict[str, float]]) -> None:
    """Write all figures, one set a line of figures.json, and print them."""
    (work / "figures.json").write_text(json.dumps(rankings, indent=1) + "\n", "utf-8")
    for name, row in rankings.items():
        print(
            name, " ".join(f"{ranking} {value:.3f}" for ranking, value in row.items()), flush=True
        )
