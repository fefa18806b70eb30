"""The OpenAPI document, its schemas made by msgspec from the dialects' own structs."""

from __future__ import annotations

from typing import Any

import msgspec

from app import __version__, errors
from app.deployments import Status
from app.dialects import management, native
from app.http import catalog

PANDA = {
    "model": "rerank-mini-en",
    "query": "What is a panda?",
    "top_n": 3,
    "documents": [
        "hi",
        "it is a bear",
        (
            "The giant panda (Ailuropoda melanoleuca), sometimes called a panda bear or simply"
            " panda, is a bear species endemic to China."
        ),
    ],
}
ANSWER = {
    "id": "rerank-5f3a1c",
    "model": "rerank-mini-en",
    "object": "list",
    "results": [
        {
            "index": 1,
            "document": {"text": "it is a bear", "multi_modal": None},
            "relevance_score": 0.0375,
        }
    ],
    "usage": {"prompt_tokens": 12, "total_tokens": 12},
    "meta": {
        "score_scale": "probability",
        "truncated": [],
        "warnings": [],
        "device": "cpu",
        "timings": {"tokenize_ms": 0.1, "queue_ms": 0.1, "engine_ms": 5.2, "total_ms": 5.6},
    },
}
RERANK_ERRORS = (400, 401, 404, 408, 413, 422, 429, 500, 503)
MEANINGS: dict[int, tuple[type[errors.RerankdError], str]] = {
    400: (
        errors.InvalidRequest,
        "Malformed JSON, a wrong type or no documents; `param` has the field's path",
    ),
    401: (errors.Unauthorized, "Missing or wrong API key"),
    403: (errors.Forbidden, "Models are managed from the server's own machine, or with a key"),
    404: (errors.ModelNotFound, "No such model"),
    409: (errors.Conflict, "The id is taken, or the deployment is in another state"),
    408: (errors.RequestTimeout, "The body did not arrive in time"),
    413: (errors.BodyTooLarge, "The body is over `max_body_bytes`"),
    422: (
        errors.PairTooLong,
        "Too many documents or tokens, or a pair too long with `truncate` off",
    ),
    429: (errors.QueueFull, "The queue is full; `Retry-After` says when to try again"),
    500: (errors.EngineFailure, "The engine failed on this request"),
    503: (errors.ModelLoading, "The model is still loading, or the server is stopping"),
}
JSON = "application/json"


def document(*, keyed: bool) -> dict[str, Any]:
    """Build the whole document; `keyed` says that this server asks for API keys."""
    structs = (
        *(native.Request, native.Reply, native.ErrorReply, native.ModelList, catalog.CatalogList),
        *(management.DeployRequest, management.DeploymentList, Status, management.Deleted),
    )
    _, components = msgspec.json.schema_components(
        structs, ref_template="#/components/schemas/{name}"
    )
    _tighten(components["Request"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rerankd",
            "version": __version__,
            "description": "Reranks documents by their relevance to a query with a GGUF model.",
        },
        "paths": _paths(),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{"bearer": []}, {"apiKey": []}] if keyed else [],
    }


def _tighten(request: dict[str, Any]) -> None:
    """Say of the request what its struct leaves to `native.read`, for the sake of clear errors."""
    properties = request["properties"]
    request["required"] = ["query", "documents"]
    documents = next(one for one in properties["documents"]["anyOf"] if one["type"] == "array")
    properties["documents"] = {
        **documents,
        "minItems": 1,
        "description": properties["documents"]["description"],
    }
    properties["top_n"] = {
        "type": ["integer", "null"],
        "minimum": 0,
        "default": None,
        "description": properties["top_n"]["description"],
    }


def _paths() -> dict[str, Any]:
    return {
        "/v1/rerank": {"post": _rerank("rerank", "Rank documents for a query")},
        "/rerank": {"post": _rerank("rerank_alias", "The same as /v1/rerank")},
        "/v1/models": {"get": _get("list_models", "List the models served", "ModelList", (401,))},
        "/v1/catalog": {
            "get": _get("list_catalog", "List what could be served", "CatalogList", (400, 401))
            | {"parameters": catalog.PARAMETERS}
        },
        **_deployment_paths(),
        "/health": {"get": _health("live_alias", "The same as /health/live", ())},
        "/health/live": {"get": _health("live", "Tell that the process answers", ())},
        "/health/ready": {"get": _health("ready", "Tell whether requests are served", (503,))},
    }


def _rerank(operation_id: str, summary: str) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "summary": summary,
        "description": "Results come best first, ties by input index.",
        "tags": ["rerank"],
        "requestBody": {"required": True, "content": _content("Request", PANDA)},
        "responses": {
            "200": {"description": "The ranking", "content": _content("Reply", ANSWER)},
            **_errors(RERANK_ERRORS),
        },
    }


def _deployment_paths() -> dict[str, Any]:
    one = "/v1/deployments/{deployment_id}"
    body = {"required": True, "content": _content("DeployRequest", {"model": "rerank-mini-en"})}
    deploy = _manage(
        *("deploy", "Begin to download and load a model", "Status", "202"),
        *(400, 404, 409, 422, 500, 503),
    )
    return {
        "/v1/deployments": {
            "get": _manage("list_deployments", "List all deployments", "DeploymentList", "200"),
            "post": deploy | {"requestBody": body},
        },
        "/v1/deployments/events": {
            "get": _manage("watch", "Watch states as server-sent events", "Status", "200")
        },
        one: {
            "get": _one("show_deployment", "Tell how one deployment stands", "Status", "200"),
            "delete": _one("stop", "Drain, free and forget a model", "Deleted", "200"),
        },
        f"{one}/restart": {
            "post": _one("restart", "Load an absent or failed model again", "Status", "202", 409)
        },
    }


def _one(operation_id: str, summary: str, schema: str, success: str, *more: int) -> dict[str, Any]:
    parameter = {"name": "deployment_id", "in": "path", "required": True}
    found = _manage(operation_id, summary, schema, success, 404, *more)
    return found | {"parameters": [parameter | {"schema": {"type": "string"}}]}


def _manage(
    operation_id: str, summary: str, schema: str, success: str, *more: int
) -> dict[str, Any]:
    found = _get(operation_id, summary, schema, (401, 403, *more))
    ok = found["responses"].pop("200")
    if operation_id == "watch":
        ok = {"description": "Events named `deployment`", "content": {"text/event-stream": {}}}
    return found | {"tags": ["deployments"], "responses": {success: ok, **found["responses"]}}


def _get(operation_id: str, summary: str, schema: str, codes: tuple[int, ...]) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "summary": summary,
        "tags": ["models"],
        "responses": {
            "200": {"description": summary, "content": _content(schema)},
            **_errors(codes),
        },
    }


def _health(operation_id: str, summary: str, codes: tuple[int, ...]) -> dict[str, Any]:
    status = {"type": "object", "properties": {"status": {"type": "string"}}}
    content = {JSON: {"schema": status, "example": {"status": operation_id.split("_", 1)[0]}}}
    return {
        "operationId": operation_id,
        "summary": summary,
        "tags": ["health"],
        "security": [],
        "responses": {
            "200": {"description": summary, "content": content},
            **_errors(codes),
        },
    }


def _content(schema: str, example: Any = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    if example is not None:
        content["example"] = example
    return {JSON: content}


def _errors(codes: tuple[int, ...]) -> dict[str, Any]:
    return {
        str(code): {
            "description": MEANINGS[code][1],
            "content": _content("ErrorReply", _error_example(code)),
        }
        for code in codes
    }


def _error_example(status: int) -> dict[str, Any]:
    kind, meaning = MEANINGS[status]
    return {"error": msgspec.to_builtins(native.error_reply(kind(meaning)).error)}
