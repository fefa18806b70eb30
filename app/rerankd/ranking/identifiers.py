"""Identifiers that query and document share: CVE-2021-44228, COS4101, row 431.

Small models see identifiers as fragments of words and confuse those that differ in a digit.
Here they count only as a whole, in each document by itself: whether one stands there doesn't depend
on the request's other documents.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

LEAST_CHARACTERS = 3
"""Shorter ones are numbers of things: 2 players, the top 10."""
MOST_IDENTIFIERS = 16
"""Identifiers of a query that count; a query with more is a text about many things."""

_token = re.compile(r"[a-z0-9_]+(?:[-.:][a-z0-9_]+|,\d[a-z0-9_]*)*")
_digit = re.compile(r"\d")
_date = re.compile(r"(?:1\d|20)\d\ds?|\d+(?:st|nd|rd|th)")
"""Years, decades and ordinals, which many texts have that are about something else."""


def identifier_shares(query: str, documents: Sequence[str]) -> list[float]:
    """Return the share of the query's identifiers that each document has, 0 to 1.

    An identifier is a run of ASCII letters and digits, joined by hyphens, points, colons or
    underscores, with a digit in it; years and ordinals by themselves are none. Case, width and
    script of digits make no difference. All are 0 where the query has no identifier.
    """
    wanted = _identifiers(query)
    if not wanted:
        return [0.0] * len(documents)
    patterns = {one: _whole(one) for one in wanted}
    return [_share(_plain(text), patterns) for text in documents]


def _identifiers(query: str) -> list[str]:
    plain = _plain(query)
    if not _digit.search(plain):
        return []
    found = (one for one in _token.findall(plain) if _digit.search(one))
    kept = (one for one in found if len(one) >= LEAST_CHARACTERS and not _date.fullmatch(one))
    return list(dict.fromkeys(kept))[:MOST_IDENTIFIERS]


def _whole(identifier: str) -> re.Pattern[str]:
    """Return what finds an identifier that is no part of a longer number or word."""
    # In "1.431" or "2,431" there is no 431.
    before = r"(?<!\d[-.:,])" if identifier[0].isdigit() else ""
    whole = rf"(?<![a-z0-9_]){re.escape(identifier)}(?![a-z0-9_])"
    return re.compile(rf"{before}{whole}(?![-.:,]\d)")


def _share(plain: str, patterns: dict[str, re.Pattern[str]]) -> float:
    # Most documents lack it, which a plain search finds out faster.
    found = sum(one in plain and bool(whole.search(plain)) for one, whole in patterns.items())
    return found / len(patterns)


def _plain(text: str) -> str:
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _digit.sub(lambda found: str(unicodedata.decimal(found[0])), folded)
