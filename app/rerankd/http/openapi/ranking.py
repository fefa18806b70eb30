"""The description of the routes that rank, read from the table of dialects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from rerankd.dialects.dialect import Dialect
from rerankd.dialects.error_format import ErrorFormat
from rerankd.dialects.examples import with_pictures
from rerankd.dialects.table import DialectTable
from rerankd.errors import RerankdError
from rerankd.http.openapi.examples import answer_to
from rerankd.http.openapi.operation import BODY_ERRORS, BodySchema, Operation, Tag
from rerankd.http.openapi.route_doc import guard_errors, is_public, summary_of

OPERATION_IDS = {"/v1/rerank": "rerank", "/rerank": "rerank_alias"}
"""Those that are not made from the path."""

PICTURED = "{}, with pictures"
"""What the second example of a dialect is called."""

RERANK_TAG = Tag("rerank", "Paths that many clients share, each with its own requests and replies")


class RankingDoc(Struct, frozen=True, kw_only=True):
    """Describes the handler of every path in a table of dialects."""

    dialects: DialectTable
    headers: Mapping[str, str]
    """Headers that its replies have in every dialect, and what they mean."""
    errors: tuple[type[RerankdError], ...]
    """What it may refuse with, in addition to a body that can't be read."""

    def operations(self, handler: HTTPRouteHandler) -> Iterator[Operation]:
        """Yield an operation for each path, which describes all dialects of that path."""
        for path in self.dialects.paths:
            # Readers of the document should see the native dialect first.
            spoken = sorted(self.dialects.on(path), key=lambda one: one.marks is not None)
            yield Operation(
                path=path,
                method="post",
                id=OPERATION_IDS.get(path, re.sub(r"\W+", "_", path).strip("_")),
                summary=summary_of(handler),
                tag=_tag_of(spoken),
                description=_differences(spoken),
                parameters=tuple(
                    {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                    for name in re.findall(r"\{(\w+)\}", path)
                ),
                requests=tuple(_request(one) for one in spoken),
                replies=tuple(_reply(one, path) for one in spoken),
                streams=True,
                errors=(*guard_errors(handler), *BODY_ERRORS, *self.errors),
                error_formats=_error_formats(spoken),
                headers=self.headers,
                public=is_public(handler),
            )


def _request(one: Dialect) -> BodySchema:
    more = {PICTURED.format(one.label): with_pictures(one.example)}
    return BodySchema(one.request, one.example, one.label, more)


def _reply(one: Dialect, path: str) -> BodySchema:
    more = {PICTURED.format(one.label): answer_to(one, path, with_pictures(one.example))}
    return BodySchema(one.reply, answer_to(one, path, one.example), one.label, more)


def _tag_of(spoken: Sequence[Dialect]) -> Tag:
    first = spoken[0]
    if len(spoken) > 1 or first.name == "native":
        return RERANK_TAG
    return Tag(first.label, f"The dialect of {first.title}")


def _differences(spoken: Sequence[Dialect]) -> str:
    """Return how the dialects of a path are recognised, nothing for a single one."""
    if len(spoken) == 1:
        return ""
    marks = [one.marks.description if one.marks else "none of these" for one in spoken]
    lines = [f"{one.title}: {text}." for one, text in zip(spoken, marks, strict=True)]
    return "\n\n".join(["The dialect of a request is recognised by its fields:", *lines])


def _error_formats(spoken: Sequence[Dialect]) -> dict[str, ErrorFormat]:
    """Return each format of errors once, under the name of the first dialect that has it."""
    found: dict[str, ErrorFormat] = {}
    for one in spoken:
        if one.errors not in found.values():
            found[one.label] = one.errors
    return found
