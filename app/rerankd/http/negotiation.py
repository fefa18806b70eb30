"""What a client accepts: the quality values of Accept and Accept-Encoding; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

JSON = "application/json"
MSGPACK = "application/msgpack"
NDJSON = "application/x-ndjson"
MSGPACK_NAMES = frozenset({MSGPACK, "application/x-msgpack", "application/vnd.msgpack"})
NDJSON_NAMES = frozenset({NDJSON, "application/ndjson", "application/jsonl"})
"""A client is answered with the name it asked by."""
FORMATS = frozenset({JSON}) | MSGPACK_NAMES | NDJSON_NAMES


def bare(header: str) -> str:
    """Return a header's value in lower case, without its parameters."""
    return header.partition(";")[0].strip().lower()


def qualities(header: str) -> dict[str, float]:
    """Return the quality of each name in a header, in [0, 1]; one that makes no sense is 0."""
    return {bare(part): _quality(part) for part in header.split(",") if bare(part)}


def _quality(part: str) -> float:
    for parameter in part.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            return _within_one(value)
    return 1.0


def _within_one(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return min(max(found, 0.0), 1.0) if math.isfinite(found) else 0.0


def media_type(accept: str, *, streams: bool = False) -> str:
    """Return the type to answer with: JSON unless another is named, and not wanted less.

    NDJSON is offered where the route `streams`. A client that accepts none of them gets JSON: an
    answer it may not read says more than a refusal.
    """
    given = qualities(accept)
    offered = MSGPACK_NAMES | (NDJSON_NAMES if streams else frozenset())
    best = max(offered & given.keys(), key=lambda name: (given[name], name), default=JSON)
    if JSON in given or best == JSON:
        return best if given.get(best, 0.0) > given.get(JSON, 0.0) else JSON
    rest = given.get("application/*", given.get("*/*", 0.0))
    return best if given[best] > 0 and given[best] >= rest else JSON


def coding(accept_encoding: str, offered: Iterable[str]) -> str | None:
    """Return which of `offered` to compress an answer with, the first of equals, or None."""
    given = qualities(accept_encoding)
    rest = given.get("*", 0.0)
    wanted = {name: given.get(name, rest) for name in offered}
    best = max(wanted, key=lambda name: wanted[name], default=None)
    return best if best is not None and wanted[best] > 0 else None
