"""docs/api-reference.md from the OpenAPI document, and two tables of docs/api.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rerankd.dialects.dialect import SHARED_PATHS, Dialect
from rerankd.dialects.table import DIALECTS
from rerankd.errors import RerankdError
from rerankd.http.application import route_handlers
from rerankd.http.negotiation import JSON, NDJSON
from rerankd.http.openapi.document import document
from rerankd.http.openapi.rendering import MEANINGS
from rerankd.http.statuses import STATUSES

from docgen.markdown import codes, sentence_part, table

HEAD = """\
# API reference

This page lists every route, parameter and field of the API; [api.md](api.md) explains them.
`just docs` generates it from `/openapi.json`. Every server has the same reference at `/docs`, with
forms to try it. If a server has API keys, every route requires one, except those marked "open".
Bodies are JSON or MessagePack.
"""
NEVER_ON_THE_WIRE = frozenset({"bad_request", "unavailable", "server_refused"})
"""Codes of base classes, and of an error that only ends a command."""


def errors() -> str:
    """Return the table of error codes: status, code, when."""
    found = [
        (status, kind.code, _when(kind))
        for kind, status in STATUSES.items()
        if kind.code not in NEVER_ON_THE_WIRE
    ]
    rows = [(str(status), f"`{code}`", when) for status, code, when in sorted(found)]
    return table(("status", "code", "when"), rows)


def _when(kind: type[RerankdError]) -> str:
    if kind is RerankdError:
        return "a bug; see the log"
    return sentence_part(kind.__doc__ or "")


def dialects() -> str:
    """Return the table of dialects, the native one first."""
    shown = sorted(DIALECTS, key=lambda one: one.name != "native")
    rows = [(one.name, one.title, _paths(one), _recognised_by(one)) for one in shown]
    return table(("dialect", "spoken by", "paths", "recognised by"), rows)


def _paths(dialect: Dialect) -> str:
    if set(SHARED_PATHS) <= set(dialect.paths):
        rest = [path for path in dialect.paths if path not in SHARED_PATHS]
        return ", ".join(["the shared ones", *([codes(rest)] if rest else [])])
    return codes(dialect.paths)


def _recognised_by(dialect: Dialect) -> str:
    if dialect.marks:
        return dialect.marks.description
    return "its path" if DIALECTS.only_one(dialect.paths[0]) else "none of the other marks"


def page() -> str:
    """Return the whole page."""
    spec = document(route_handlers(), keyed=True)
    parts = [HEAD, "## Routes", *_tags(spec), "## Parameters", _parameters(spec)]
    parts += ["## Errors", _refusals(), "## Bodies", *_schemas(spec)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _operations(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield f"`{method.upper()} {path}`", operation


def _tags(spec: dict[str, Any]) -> Iterator[str]:
    for tag in spec["tags"]:
        rows = [
            (route + (" (open)" if one.get("security") == [] else ""), *_summary_of(one))
            for route, one in _operations(spec)
            if one["tags"] == [tag["name"]]
        ]
        yield f"### {tag['name']}"
        yield f"{tag['description']}."
        yield table(("route", "what it does", "request", "reply", "errors"), rows)


def _summary_of(operation: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return what an operation does, its request, its reply and its error statuses."""
    answers = operation["responses"]
    good = [status for status in answers if status < "300"]
    gives = "; ".join(f"{status} {_content(answers[status])}".strip() for status in good)
    refuses = ", ".join(status for status in answers if status >= "300")
    return operation["summary"], _content(operation.get("requestBody", {})), gives, refuses


def _content(body: dict[str, Any]) -> str:
    """Return the shapes of a body, each a link to its table, or its media types."""
    content = body.get("content", {})
    if JSON not in content:
        return codes(content)
    shapes = _type(content[JSON]["schema"])
    return f"{shapes}, or streamed line by line" if NDJSON in content else shapes


def _parameters(spec: dict[str, Any]) -> str:
    rows = [
        (route, f"`{one['name']}`", one["in"], _type(one["schema"]), _meaning(one))
        for route, operation in _operations(spec)
        for one in operation.get("parameters", ())
    ]
    return table(("route", "parameter", "in", "type", "meaning"), rows)


def _refusals() -> str:
    rows = [(str(status), meaning) for status, (_, meaning) in MEANINGS.items()]
    return (
        "The codes in error bodies are in [api.md](api.md#errors). 429 and 503 have "
        "`Retry-After`.\n\n" + table(("status", "meaning"), rows)
    )


def _schemas(spec: dict[str, Any]) -> Iterator[str]:
    for name, schema in sorted(spec["components"]["schemas"].items()):
        yield f"### {name}"
        yield schema.get("description", "")
        if "properties" not in schema:
            yield _type(schema)
            continue
        required = schema.get("required", ())
        rows = [
            (f"`{field}`", _type(one), _default(one, required=field in required), _meaning(one))
            for field, one in schema["properties"].items()
        ]
        yield table(("field", "type", "default", "meaning"), rows)


def _meaning(schema: dict[str, Any]) -> str:
    return str(schema.get("description", ""))


def _default(schema: dict[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    default = schema.get("default")
    return "" if default is None else f"`{_said(default)}`"


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(schema: dict[str, Any]) -> str:
    """Return a schema as people say it; null and what can't be said in a cell are left out."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        kinds = [_type(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return codes(schema["enum"])
    if "const" in schema:
        return f"`{_said(schema['const'])}`"
    kind = str(schema.get("type", "any"))
    if kind == "array" and "items" in schema:
        return f"list of {_type(schema['items'])}"
    return kind + _bounds(schema)


def _bounds(schema: dict[str, Any]) -> str:
    """Return the least and the most that a number may be, where they mean something."""
    least, most = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        return f" above {schema['exclusiveMinimum']}"
    if least is None:
        return ""
    return f" from {least}" if most is None else f" from {least} to {most}"
