"""The OpenAPI document, its schemas made by msgspec from the structs that are read and written."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from rerankd import __version__
from rerankd.dialects.table import DIALECTS
from rerankd.http.openapi import management, models, rerank
from rerankd.http.openapi.components import Components
from rerankd.http.openapi.operations import Operation, kinds_of, written
from rerankd.settings import MODEL_SETTINGS

DESCRIPTION = """\
Reranks documents by their relevance to a query with a GGUF model.

Bodies are JSON, or MessagePack where `Content-Type` and `Accept` say `application/msgpack`, and
may be compressed with gzip or zstd in both directions. Unknown fields of a rerank request are
ignored.
"""

SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "azureKey": {"type": "apiKey", "in": "header", "name": "api-key"},
}
"""The ways to send an API key."""


def operations() -> tuple[Operation, ...]:
    """Return all operations, in the order they are shown."""
    return (*rerank.operations(DIALECTS), *models.OPERATIONS, *management.OPERATIONS)


@functools.cache
def encoded(*, keyed: bool) -> bytes:
    """Return the document in JSON; it takes some time to make and never changes."""
    return msgspec.json.encode(document(keyed=keyed))


def document(*, keyed: bool) -> dict[str, Any]:
    """Build the whole document; `keyed` says that this server asks for API keys."""
    shown = operations()
    components = Components(kinds_of(shown))
    options = components.schemas["DeployRequest"]["properties"]["options"]
    options["propertyNames"] = {"enum": sorted(MODEL_SETTINGS)}
    paths: dict[str, dict[str, Any]] = {}
    for one in shown:
        paths.setdefault(one.path, {})[one.method] = written(one, components)
    tags = rerank.tags(DIALECTS) | models.TAGS | management.TAGS
    used = dict.fromkeys(one.tag for one in shown)
    return {
        "openapi": "3.1.0",
        "info": {"title": "rerankd", "version": __version__, "description": DESCRIPTION},
        "tags": [{"name": name, "description": tags[name]} for name in used],
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "responses": components.responses,
            "securitySchemes": SCHEMES,
        },
        "security": [{name: []} for name in SCHEMES] if keyed else [],
    }
