"""What operations refer to: the schemas of structs, and responses to errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from rerankd.dialects.reading import REQUIRED

SCHEMAS = "#/components/schemas/"
RESPONSES = "#/components/responses/"


class Components:
    """Schemas of some types and of all that they contain, and responses as they are added."""

    def __init__(self, kinds: Sequence[Any]) -> None:
        references, schemas = msgspec.json.schema_components(kinds, ref_template=SCHEMAS + "{name}")
        self.schemas: dict[str, Any] = {
            _schema_name(name): _tightened(_renamed(schema)) for name, schema in schemas.items()
        }
        self.responses: dict[str, Any] = {}
        self._references = dict(zip(kinds, map(_renamed, references), strict=True))

    def reference(self, kind: Any) -> dict[str, Any]:
        """Return a reference to a type's schema."""
        found: dict[str, Any] = self._references[kind]
        return found

    def share(self, name: str, response: dict[str, Any]) -> dict[str, Any]:
        """Keep a response under a name, which stands for its content; return a reference to it."""
        self.responses.setdefault(name, response)
        return {"$ref": RESPONSES + name}


def _schema_name(name: str) -> str:
    """Return `CohereReply` for `rerankd.dialects.cohere.Reply`, as msgspec names equal ones."""
    *_, module, struct = ("", *name.split("."))
    return "".join(part.capitalize() for part in module.split("_")) + struct


def _tightened(schema: dict[str, Any]) -> dict[str, Any]:
    """Require the fields that are marked as REQUIRED, which their structs let be null."""
    required = list(schema.get("required", ()))
    for name, shown in schema.get("properties", {}).items():
        for one in shown.get("anyOf", ()):
            if one.pop(REQUIRED, False):
                described = {"description": shown["description"]} if "description" in shown else {}
                schema["properties"][name] = one | described
                required.append(name)
    return schema | {"required": required} if required else schema


def _renamed(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: SCHEMAS + _schema_name(value.removeprefix(SCHEMAS))
            if key == "$ref"
            else _renamed(value)
            for key, value in schema.items()
        }
    return [_renamed(one) for one in schema] if isinstance(schema, list) else schema
