"""The operations of those who run the server: deployments, keys, use."""

from __future__ import annotations

from typing import Any

from rerankd.deployments import Status
from rerankd.dialects import management
from rerankd.http.openapi.operations import READS, BodySchema, Operation, parameter
from rerankd.http.usage import LineList
from rerankd.telemetry.usage import WINDOWS, Report

TAGS = {
    "deployments": "Models downloaded, loaded and freed while the server runs",
    "keys": "API keys: who may do what, for how long, and how much of it",
    "usage": "What was used, by whom, and how the server feels",
}

ONE = "/v1/deployments/{deployment_id}"


def _managing(**given: Any) -> Operation:
    """Return an operation of those who may manage."""
    refuses = (401, 403, *given.pop("refuses", ()))
    return Operation(refuses=refuses, **given)


ID = parameter("deployment_id", "path", "The id that it has in the list", type="string")
KEY = parameter("key_id", "path", "The id that it has in the list", type="string")
WINDOW = parameter(
    *("window", "query", "How far back, in steps of a minute or of a quarter of an hour"),
    type="string",
    enum=list(WINDOWS),
    default="hour",
)

DEPLOYMENTS = (
    _managing(
        path="/v1/deployments",
        method="get",
        id="list_deployments",
        summary="List all deployments",
        tag="deployments",
        gives=(BodySchema(management.DeploymentList),),
    ),
    _managing(
        path="/v1/deployments",
        method="post",
        id="deploy",
        summary="Begin to download and load a model",
        tag="deployments",
        takes=(BodySchema(management.DeployRequest, {"model": "rerank-mini-en"}),),
        status=202,
        gives=(BodySchema(Status),),
        refuses=(*READS, 404, 409, 422, 500, 503),
    ),
    _managing(
        path="/v1/deployments/events",
        method="get",
        id="watch",
        summary="Watch states as server-sent events named `deployment`",
        tag="deployments",
        media_types=("text/event-stream",),
    ),
    _managing(
        path=ONE,
        method="get",
        id="show_deployment",
        summary="Tell how one deployment stands",
        tag="deployments",
        parameters=(ID,),
        gives=(BodySchema(Status),),
        refuses=(404,),
    ),
    _managing(
        path=ONE,
        method="delete",
        id="stop",
        summary="Drain, free and forget a model",
        tag="deployments",
        parameters=(ID,),
        gives=(BodySchema(management.Deleted),),
        refuses=(404,),
    ),
    _managing(
        path=f"{ONE}/restart",
        method="post",
        id="restart",
        summary="Load an absent or failed model again",
        tag="deployments",
        parameters=(ID,),
        status=202,
        gives=(BodySchema(Status),),
        refuses=(404, 409),
    ),
    _managing(
        path=f"{ONE}/logs",
        method="get",
        id="logs",
        summary="Tell the last lines of the log about one deployment",
        tag="deployments",
        parameters=(ID,),
        gives=(BodySchema(LineList),),
        refuses=(404,),
    ),
)
KEYS = (
    Operation(
        path="/v1/me",
        method="get",
        id="me",
        summary="Tell the caller what it may do",
        tag="keys",
        gives=(BodySchema(management.Me),),
        refuses=(401,),
    ),
    _managing(
        path="/v1/keys",
        method="get",
        id="list_keys",
        summary="List all keys, the revoked ones for some time as well",
        tag="keys",
        gives=(BodySchema(management.KeyList),),
    ),
    _managing(
        path="/v1/keys",
        method="post",
        id="create_key",
        summary="Make a key, and tell it this once",
        tag="keys",
        takes=(BodySchema(management.KeyRequest, {"name": "search", "scopes": ["inference"]}),),
        status=201,
        gives=(BodySchema(management.NewKeyReply),),
        refuses=READS,
    ),
    _managing(
        path="/v1/keys/{key_id}",
        method="delete",
        id="revoke_key",
        summary="Refuse a key from now on",
        tag="keys",
        parameters=(KEY,),
        gives=(BodySchema(management.Deleted),),
        refuses=(404, 409),
    ),
)
USAGE = (
    _managing(
        path="/v1/usage",
        method="get",
        id="usage",
        summary="Tell what each model and API key used",
        tag="usage",
        parameters=(WINDOW,),
        gives=(BodySchema(Report),),
        refuses=(400,),
    ),
    Operation(
        path="/metrics",
        method="get",
        id="metrics",
        summary="Tell all metrics as Prometheus reads them",
        tag="usage",
        media_types=("text/plain", "application/openmetrics-text"),
        refuses=(401,),
    ),
)
OPERATIONS: tuple[Operation, ...] = (*DEPLOYMENTS, *KEYS, *USAGE)
