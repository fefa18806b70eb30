"""The operations that rank, made from the table of dialects: one a path, for all who share it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rerankd.dialects.dialect import Dialect
from rerankd.http.openapi.examples import answer_to
from rerankd.http.openapi.operations import READS, BodySchema, ErrorFormat, Operation
from rerankd.http.routes import WARNING

REFUSES = (*READS, 401, 403, 404, 422, 429, 500, 503, 504)
IDS = {"/v1/rerank": "rerank", "/rerank": "rerank_alias"}
SHARED = "rerank"
HEADERS = {
    "Server-Timing": "Milliseconds of each part of the work",
    WARNING: "What there is to know about the scores, where the body has no place for it",
}


def operations(dialects: Iterable[Dialect]) -> Iterator[Operation]:
    """Yield an operation for every path that a dialect has."""
    shown = sorted(dialects, key=lambda one: one.marks is not None)
    for path in dict.fromkeys(path for dialect in shown for path in dialect.paths):
        yield _operation(path, [dialect for dialect in shown if path in dialect.paths])


def _operation(path: str, speaking: Sequence[Dialect]) -> Operation:
    alone = len(speaking) == 1
    return Operation(
        path=path,
        method="post",
        id=IDS.get(path, re.sub(r"\W+", "_", path).strip("_")),
        summary="Rank documents for a query",
        tag=_tag(speaking[0]) if alone else SHARED,
        description="" if alone else _told_apart(speaking),
        parameters=tuple(
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", path)
        ),
        takes=tuple(BodySchema(one.request, one.example, one.label) for one in speaking),
        gives=tuple(BodySchema(one.reply, answer_to(one, path), one.label) for one in speaking),
        streams=True,
        refuses=_refused(speaking),
        voices=_voices(speaking),
        headers=HEADERS,
    )


def _tag(dialect: Dialect) -> str:
    return SHARED if dialect.name == "native" else dialect.label


def _told_apart(speaking: Sequence[Dialect]) -> str:
    rest = "none of the others'"
    lines = [f"{one.title}: {one.marks.description if one.marks else rest}." for one in speaking]
    return "\n\n".join(["Clients are told apart by what only they send.", *lines])


def _voices(speaking: Sequence[Dialect]) -> tuple[ErrorFormat, ...]:
    """Return each way to write errors once, under the first name that has it."""
    found = {
        one.errors.body: ErrorFormat(one.label, one.errors.body, one.errors.statuses)
        for one in speaking[::-1]
    }
    return tuple(found.values())[::-1]


def _refused(speaking: Sequence[Dialect]) -> tuple[int, ...]:
    own = {status for one in speaking for status in one.errors.statuses.values()}
    return tuple(own.union(REFUSES))


def tags(dialects: Iterable[Dialect]) -> dict[str, str]:
    """Return what each tag of the operations means."""
    shared = "Paths that many clients use, with the shapes that each of them reads"
    return {_tag(one): f"In the words of {one.title}" for one in dialects} | {SHARED: shared}
