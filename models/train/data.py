"""Everything that training reads, built once into the work folder."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import bm25s
import torch
from tokenizers import Tokenizer

from . import encoder
from .items import Item, held_out_items, sections_of, training_items
from .sources import Source

NARROW = 64
"""Numbers of a token's vector that are compared; 384 rank no better (README.md)."""
NEGATIVES = 4
HELD_OUT_ITEMS = 200
HELD_OUT_PASSAGES = 600
JUNK = (
    "hi", "ok", "yes", "no", "test", "hello there", "thanks", "lol", "asdf qwer", "n/a", "...",
    "foo bar", "1 2 3", "click here", "read more", "see also", "to do", "good morning",
    "I don't know.", "Nothing to see here.",
)  # fmt: skip


def build(sources: Sequence[Source], packages: Path, work: Path, *, most: int = 0) -> None:
    """Write items.jsonl with mined negatives, and held-out sets; `most` bounds a source's items."""
    work.mkdir(parents=True, exist_ok=True)
    if (work / "items.jsonl").exists():
        return
    sets = work / "sets"
    sets.mkdir(exist_ok=True)
    rows: list[dict[str, object]] = []
    for source in sources:
        sections = sections_of(source, packages)
        if source.use == "train":
            items = list(training_items(source, sections[: most or None]))
            rows += _with_negatives(items)
        else:
            items = list(held_out_items(source, sections[: HELD_OUT_PASSAGES * 3]))
            chosen = items[: min(HELD_OUT_PASSAGES, most or HELD_OUT_PASSAGES)]
            write(sets / f"{source.name}.jsonl", [asdict(item) for item in chosen])
        print(f"{source.name}: {len(items)} questions of {len(sections)} sections", flush=True)
    random.Random("items").shuffle(rows)
    write(work / "items.jsonl", rows)  # last: it says that all is there


def _with_negatives(items: Sequence[Item]) -> list[dict[str, object]]:
    """Add to each question the passages of its source that BM25 takes for its answer."""
    passages = [item.passage for item in items]
    index = bm25s.BM25()
    index.index(bm25s.tokenize(passages, show_progress=False), show_progress=False)
    asked = bm25s.tokenize([item.query for item in items], show_progress=False)
    k = min(4 * NEGATIVES, len(items))
    found, _ = index.retrieve(asked, k=k, show_progress=False)
    rows: list[dict[str, object]] = []
    for item, numbers in zip(items, found, strict=True):
        others = [items[int(number)] for number in numbers]
        negatives = [
            other.passage
            for other in others
            if other.query != item.query and not _overlap(other.passage, item.passage)
        ]
        rows.append({**asdict(item), "negatives": negatives[:NEGATIVES]})
    return rows


def _overlap(left: str, right: str) -> bool:
    """Tell whether two passages are parts of the same text."""
    words = set(left.split())
    other = set(right.split())
    return len(words & other) > 0.7 * min(len(words), len(other))


def write(path: Path, rows: Sequence[dict[str, object]]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    partial.rename(path)


def read(path: Path) -> list[dict[str, object]]:
    """Return the rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def idf(tokenizer: Tokenizer, passages: Sequence[str], vocabulary: int) -> torch.Tensor:
    """Return each token's inverse document frequency over the passages, as BM25 weighs words."""
    count = Counter(token for ids in encoder.encode_ids(tokenizer, passages) for token in set(ids))
    total = len(passages)
    return torch.tensor(
        [math.log(1 + (total - count[n] + 0.5) / (count[n] + 0.5)) for n in range(vocabulary)]
    )


@torch.no_grad()
def principal(weights: encoder.Weights, rows: Sequence[Sequence[int]]) -> encoder.Weights:
    """Return the centre of the base model's token vectors and their main directions."""
    vectors = []
    for start in range(0, len(rows), 16):
        ids, mask = encoder.pad(rows[start : start + 16])
        hidden = encoder.forward(weights, ids, mask)
        vectors.append(torch.nn.functional.normalize(hidden[mask], dim=-1))
    whole = torch.cat(vectors)
    centre = whole.mean(0)
    _, directions = torch.linalg.eigh(torch.cov((whole - centre).T))
    # eigh sorts ascending: the last columns vary most.
    return {"late.centre": centre, "late.projection": directions.flip(1)[:, :NARROW].T.contiguous()}
