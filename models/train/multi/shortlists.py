"""`python -m models.train.multi.shortlists`: a public collection as data of `rerankd eval`.

Each line is a question with its candidates in BM25's order, so that the evaluation's first stage is
BM25 over the whole collection.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from rerankd.ranking.bm25 import bm25_shares

from . import judged
from .judged import Collection


def rows(collection: Collection, *, questions: int, depth: int) -> Iterator[dict[str, object]]:
    """Yield the first `questions` of a collection's shuffled ones as lines of `rerankd eval`.

    Candidates are BM25's best `depth`, and what is a candidate whatever a search finds.
    """
    asked = list(enumerate(collection.questions, 1))
    random.Random(collection.name).shuffle(asked)
    for number, question in asked[:questions]:
        scores = bm25_shares(question.query, collection.documents)
        best = sorted(range(len(scores)), key=lambda one: -scores[one])
        kept = question.own.union(best[:depth])
        documents = [
            {"text": collection.documents[one], "relevance": int(one in question.relevant)}
            for one in best
            if one in kept
        ]
        yield {"id": str(number), "query": question.query, "documents": documents}


def main() -> None:
    """Print the lines of one collection."""
    parser = argparse.ArgumentParser(prog="models.train.multi.shortlists", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds the files of judged.toml")
    parser.add_argument("collection", help="its name in judged.toml")
    parser.add_argument("--questions", type=int, default=250, help="at most so many")
    parser.add_argument("--depth", type=int, default=0, help="how many BM25 chooses")
    options = parser.parse_args()
    for row in rows(
        judged.read_one(options.folder, options.collection),
        questions=options.questions,
        depth=options.depth,
    ):
        print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
