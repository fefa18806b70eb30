"""The routes of deployments: list, deploy, show, restart, stop and watch them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import PathParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from rerankd.deployments import Status
from rerankd.deployments.loader import require_known
from rerankd.dialects import management
from rerankd.errors import (
    Conflict,
    DownloadError,
    InvalidRequest,
    ModelFileError,
    ModelNotFound,
    SettingsError,
    ShuttingDown,
    StateError,
)
from rerankd.http.guard import MANAGEMENT
from rerankd.http.negotiation import JSON
from rerankd.http.openapi.operation import BodySchema
from rerankd.http.openapi.route_doc import RouteDoc
from rerankd.http.openapi.tags import DEPLOYMENTS_TAG
from rerankd.http.request_line import deployment_id_of
from rerankd.http.wire import MANAGEMENT_BYTES, Encoded, body_of, decode, encode
from rerankd.service import Service
from rerankd.settings import Settings
from rerankd.sources.resolve import default_name
from rerankd.store import Spec
from rerankd.threads import WorkerPool

EVENTS_ID = "events"
"""No new deployment gets this id, because its route streams events. One from an earlier version or
from the settings can be shown and stopped all the same."""

NAMING = WorkerPool("name-deployments", 2)

DeploymentId = Annotated[
    str, PathParameter(description="The id of the deployment; a slash in it is written `%2F`")
]


@get(
    "/v1/deployments",
    opt=MANAGEMENT,
    doc=RouteDoc(tag=DEPLOYMENTS_TAG, reply=BodySchema(management.DeploymentList)),
    sync_to_thread=False,
)
def list_deployments(service: NamedDependency[Service]) -> Response[Any]:
    """List all deployments."""
    return Encoded(management.DeploymentList(data=service.deployments.statuses))


@post(
    "/v1/deployments",
    operation_id="deploy",
    status_code=202,
    opt=MANAGEMENT,
    doc=RouteDoc(
        tag=DEPLOYMENTS_TAG,
        request=BodySchema(management.DeployRequest, {"model": "rerank-mini-en"}),
        reply=BodySchema(Status),
        errors=(
            *(ModelNotFound, Conflict, ModelFileError, SettingsError),
            *(StateError, ShuttingDown),
        ),
    ),
    request_max_body_size=MANAGEMENT_BYTES,
)
async def deploy_model(
    request: Request[Any, Any, Any], service: NamedDependency[Service]
) -> Response[Any]:
    """Start downloading and loading a model."""
    settings = service.settings
    body = await body_of(request, settings.read_timeout)
    wire = decode(body, request.headers.get("content-type", ""), management.DeployRequest)
    # It reads manifests, and the whole file where that may be one of the catalog's.
    spec = await NAMING.run(_spec_of, wire, settings)
    deployed = await service.deployments.deploy(spec)
    return Encoded(deployed.status, status_code=202)


def _spec_of(wire: management.DeployRequest, settings: Settings) -> Spec:
    spec = management.spec_of(wire, _own_name(wire.model, settings))
    if spec.id == EVENTS_ID:
        raise InvalidRequest(f"{EVENTS_ID!r} is reserved; choose another id", param="id")
    require_known(spec, settings)
    return spec


def _own_name(model: str, settings: Settings) -> str:
    try:
        return default_name(model, settings)
    except DownloadError as error:  # nothing was asked of the Hub yet: the reference is wrong
        raise InvalidRequest(error.message, param="model") from error


@get(
    "/v1/deployments/{deployment_id:str}",
    opt=MANAGEMENT,
    doc=RouteDoc(tag=DEPLOYMENTS_TAG, reply=BodySchema(Status), errors=(ModelNotFound,)),
    sync_to_thread=False,
)
def show_deployment(
    deployment_id: DeploymentId, service: NamedDependency[Service]
) -> Response[Any]:
    """Show one deployment."""
    return Encoded(service.deployments.status(deployment_id_of(deployment_id)))


@post(
    "/v1/deployments/{deployment_id:str}/restart",
    status_code=202,
    opt=MANAGEMENT,
    doc=RouteDoc(
        tag=DEPLOYMENTS_TAG,
        request=BodySchema(management.RestartRequest),
        reply=BodySchema(Status),
        errors=(ModelNotFound, Conflict, StateError, ShuttingDown),
    ),
    request_max_body_size=MANAGEMENT_BYTES,
)
async def restart(
    request: Request[Any, Any, Any],
    deployment_id: DeploymentId,
    service: NamedDependency[Service],
) -> Response[Any]:
    """Load an absent or failed deployment again.

    Also one that is held back because the server ended while loading it.
    """
    wanted = deployment_id_of(deployment_id)
    body = await body_of(request, service.settings.read_timeout)
    media_type = request.headers.get("content-type", "")
    wire = decode(body or b"{}", media_type if body else JSON, management.RestartRequest)
    await service.deployments.restart(wanted, accept_unproven=wire.accept_unproven)
    return Encoded(service.deployments.status(wanted), status_code=202)


@patch(
    "/v1/deployments/{deployment_id:str}",
    operation_id="change",
    status_code=202,
    opt=MANAGEMENT,
    doc=RouteDoc(
        tag=DEPLOYMENTS_TAG,
        request=BodySchema(management.ChangeRequest, {"options": {"workers": 2}}),
        reply=BodySchema(Status),
        errors=(ModelNotFound, SettingsError, StateError, ShuttingDown),
    ),
    request_max_body_size=MANAGEMENT_BYTES,
)
async def change_deployment(
    request: Request[Any, Any, Any],
    deployment_id: DeploymentId,
    service: NamedDependency[Service],
) -> Response[Any]:
    """Change a deployment's options and load it anew.

    Running requests may finish first. What is changed of the default model lasts until the server
    ends.
    """
    settings = service.settings
    body = await body_of(request, settings.read_timeout)
    wire = decode(body, request.headers.get("content-type", ""), management.ChangeRequest)
    spec = management.changed_spec_of(
        wire, service.deployments.status(deployment_id_of(deployment_id))
    )
    await NAMING.run(require_known, spec, settings)
    changed = await service.deployments.change(spec)
    return Encoded(changed.status, status_code=202)


@delete(
    "/v1/deployments/{deployment_id:str}",
    operation_id="stop",
    status_code=200,
    opt=MANAGEMENT,
    doc=RouteDoc(
        tag=DEPLOYMENTS_TAG,
        reply=BodySchema(management.Deleted),
        errors=(ModelNotFound, StateError),
    ),
)
async def stop_deployment(
    deployment_id: DeploymentId, service: NamedDependency[Service]
) -> Response[Any]:
    """Drain, free and remove a deployment.

    Running requests may finish first.
    """
    wanted = deployment_id_of(deployment_id)
    await service.deployments.stop(wanted)
    return Encoded(management.Deleted(id=wanted))


@get(
    "/v1/deployments/events",
    opt=MANAGEMENT,
    doc=RouteDoc(tag=DEPLOYMENTS_TAG, text_types=("text/event-stream",)),
)
async def watch(
    request: Request[Any, Any, Any], service: NamedDependency[Service]
) -> ServerSentEvent | Response[Any]:
    """Stream states as server-sent events named `deployment`.

    Every deployment's status is sent at once, and again each time it changes.
    """
    if request.headers.get("accept", "").startswith("application/json"):
        return Encoded(service.deployments.status(EVENTS_ID))
    return ServerSentEvent(_messages(service))


@delete(
    f"/v1/deployments/{EVENTS_ID}",
    operation_id="stopEvents",
    status_code=200,
    opt=MANAGEMENT,
    doc=RouteDoc(
        tag=DEPLOYMENTS_TAG,
        reply=BodySchema(management.Deleted),
        errors=(ModelNotFound, StateError),
    ),
)
async def stop_deployment_called_events(service: NamedDependency[Service]) -> Response[Any]:
    """Remove a deployment called `events`.

    No new one gets this name.
    """
    await service.deployments.stop(EVENTS_ID)
    return Encoded(management.Deleted(id=EVENTS_ID))


async def _messages(service: Service) -> AsyncIterator[ServerSentEventMessage]:
    async with aclosing(service.deployments.events()) as events:
        async for status in events:
            data = encode(status, JSON).decode()
            yield ServerSentEventMessage(data=data, event="deployment")
