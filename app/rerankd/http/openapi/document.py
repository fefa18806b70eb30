"""The OpenAPI document of an application, its schemas made by msgspec from the structs in use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rerankd import __version__
from rerankd.http.openapi.components import Components
from rerankd.http.openapi.rendering import rendered, types_of
from rerankd.http.openapi.route_doc import operations_of

DESCRIPTION = """\
Reranks documents by their relevance to a query with a GGUF model, and makes vectors of texts.

Bodies are JSON, or MessagePack if `Content-Type` and `Accept` say `application/msgpack`, and
may be compressed with gzip or zstd in both directions. Unknown fields of requests to rank
or embed are ignored.
"""

SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "azureKey": {"type": "apiKey", "in": "header", "name": "api-key"},
}
"""The ways to send an API key."""


def document(handlers: Sequence[object], *, keyed: bool) -> dict[str, Any]:
    """Build the document of an application with these route handlers, in their order.

    `keyed` says that the server asks for API keys. Raises TypeError for a handler without a
    `doc`.
    """
    operations = tuple(operations_of(handlers))
    components = Components(types_of(operations))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method] = rendered(one, components)
    tags = {one.tag.name: one.tag.description for one in operations}
    return {
        "openapi": "3.1.0",
        "info": {"title": "rerankd", "version": __version__, "description": DESCRIPTION},
        "tags": [{"name": name, "description": text} for name, text in tags.items()],
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "responses": components.responses,
            "securitySchemes": SCHEMES,
        },
        "security": [{name: []} for name in SCHEMES] if keyed else [],
    }
