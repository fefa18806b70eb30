"""What operations refer to: schemas of structs, and the refusals that they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

SCHEMAS = "#/components/schemas/"
RESPONSES = "#/components/responses/"
TEXTS = frozenset({"documents", "texts", "passages", "input"})
"""What requests call the list of their texts, of which there must be one at least."""


class Components:
    """Schemas of some types and of all that they contain, and responses as they are added."""

    def __init__(self, kinds: Sequence[Any]) -> None:
        references, schemas = msgspec.json.schema_components(kinds, ref_template=SCHEMAS + "{name}")
        self.schemas: dict[str, Any] = {
            _short(name): _tightened(_renamed(schema)) for name, schema in schemas.items()
        }
        self.responses: dict[str, Any] = {}
        self._references = dict(zip(kinds, map(_renamed, references), strict=True))

    def reference(self, kind: Any) -> dict[str, Any]:
        """Return what leads to a type's schema."""
        found: dict[str, Any] = self._references[kind]
        return found

    def share(self, name: str, response: dict[str, Any]) -> dict[str, Any]:
        """Keep a response under a name that tells all about it; return what leads there."""
        self.responses.setdefault(name, response)
        return {"$ref": RESPONSES + name}


def _short(name: str) -> str:
    """Return `CohereReply` for `rerankd.dialects.cohere.Reply`, as msgspec names equal ones."""
    *_, module, struct = ("", *name.split("."))
    return "".join(part.capitalize() for part in module.split("_")) + struct


def _tightened(schema: dict[str, Any]) -> dict[str, Any]:
    """Say of a request what its struct leaves to its reader, for the sake of clear errors."""
    required = schema.get("required", [])
    if not {"query", "queries"} & set(required):
        return schema
    properties = schema["properties"]
    for name in TEXTS & properties.keys():
        shown = properties[name]
        lists = [one for one in shown.get("anyOf", ()) if one.get("type") == "array"]
        if lists:
            described = {"description": shown["description"]} if "description" in shown else {}
            properties[name] = {**lists[0], "minItems": 1, **described}
            required = [*required, name]
    return schema | {"required": required}


def _renamed(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: SCHEMAS + _short(value.removeprefix(SCHEMAS)) if key == "$ref" else _renamed(value)
            for key, value in schema.items()
        }
    return [_renamed(one) for one in schema] if isinstance(schema, list) else schema
