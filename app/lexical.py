"""BM25 over the documents of one request.

A request's documents are its whole collection here, a few to a few thousand short texts. The
libraries at hand build an index first, which for so few takes several times as long.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

K1, B = 1.2, 0.75
"""Lucene's constants: how soon repetitions stop counting, and how much length does."""
_words = re.compile(r"\w+").findall


def bm25_shares(query: str, documents: Sequence[str]) -> list[float]:
    """Return each document's BM25 score as a share of the best one's, 0 to 1.

    All are 0 where no document has a word of the query.
    """
    counts = [Counter(_words(text.casefold())) for text in documents]
    lengths = [count.total() for count in counts]
    average = max(sum(lengths) / max(len(lengths), 1), 1e-9)
    scores = [0.0] * len(documents)
    for word in dict.fromkeys(_words(query.casefold())):
        having = sum(word in count for count in counts)
        rarity = math.log(1 + (len(counts) - having + 0.5) / (having + 0.5))
        for number, count in enumerate(counts):
            if times := count[word]:
                worn = times + K1 * (1 - B + B * lengths[number] / average)
                scores[number] += rarity * times * (K1 + 1) / worn
    best = max(scores, default=0.0)
    return [score / best if best else 0.0 for score in scores]
