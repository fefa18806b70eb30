"""BM25 over the documents of one request.

A request's documents are its whole collection here, a few to a few thousand short texts. The
libraries at hand build an index first, which for so few takes several times as long.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rerankd.ranking.words import count_words, first_characters, query_words

K1, B = 1.2, 0.75
"""Lucene's constants: how soon repetitions stop counting, and how much length does."""


def bm25_shares(query: str, documents: Sequence[str]) -> list[float]:
    """Return each document's BM25 score as a share of the best one's, 0 to 1.

    The time it takes grows with the texts' length alone, not with query times documents.

    All are 0 where no document has a word of the query.
    """
    wanted = query_words(query)
    beginnings = first_characters(wanted)
    counts: list[Counter[str]] = []
    lengths: list[int] = []
    for text in documents:
        count, length = count_words(text, wanted, beginnings)
        lengths.append(length)
        counts.append(count)
    average = max(sum(lengths) / max(len(lengths), 1), 1e-9)
    having = Counter(word for count in counts for word in count)
    idf = {
        word: math.log(1 + (len(counts) - found + 0.5) / (found + 0.5))
        for word, found in having.items()
    }
    scores = [
        math.fsum(
            idf[word] * times * (K1 + 1) / (times + K1 * (1 - B + B * length / average))
            for word, times in count.items()
        )
        for count, length in zip(counts, lengths, strict=True)
    ]
    best = max(scores, default=0.0)
    return [score / best if best else 0.0 for score in scores]
