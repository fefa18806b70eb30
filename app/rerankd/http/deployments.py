"""The routes of deployments: list, deploy, look at, load again, stop, and watch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import ServerSentEvent, ServerSentEventMessage

from rerankd.deployments.loader import require_known
from rerankd.dialects import management
from rerankd.errors import DownloadError, InvalidRequest
from rerankd.http.guard import MANAGEMENT
from rerankd.http.routes import as_json
from rerankd.http.wire import body_of, decode
from rerankd.service import Service
from rerankd.settings import Settings
from rerankd.sources.resolve import name_of


@get("/v1/deployments", opt=MANAGEMENT, sync_to_thread=False)
def list_deployments(service: NamedDependency[Service]) -> Response[Any]:
    """List all deployments."""
    return as_json(management.DeploymentList(data=service.deployments.statuses))


@post("/v1/deployments", status_code=202, opt=MANAGEMENT)
async def deploy(
    request: Request[Any, Any, Any], service: NamedDependency[Service]
) -> Response[Any]:
    """Begin to download and load a model."""
    settings = service.settings
    body = await body_of(request, settings.read_timeout)
    wire = decode(body, request.headers.get("content-type", ""), management.DeployRequest)
    spec = management.spec_of(wire, _own_name(wire.model, settings))
    require_known(spec, settings)
    return as_json(service.deployments.deploy(spec).status, status_code=202)


def _own_name(model: str, settings: Settings) -> str:
    try:
        return name_of(model, settings)
    except DownloadError as error:  # nothing was asked of the Hub yet: the reference is wrong
        raise InvalidRequest(error.message, param="model") from error


@get("/v1/deployments/{deployment_id:str}", opt=MANAGEMENT, sync_to_thread=False)
def show_deployment(
    deployment_id: FromPath[str], service: NamedDependency[Service]
) -> Response[Any]:
    """Tell how one deployment stands."""
    return as_json(service.deployments.status(deployment_id))


@post("/v1/deployments/{deployment_id:str}/restart", status_code=202, opt=MANAGEMENT)
async def restart(deployment_id: FromPath[str], service: NamedDependency[Service]) -> Response[Any]:
    """Load a model again that is absent or failed."""
    service.deployments.restart(deployment_id)
    return as_json(service.deployments.status(deployment_id), status_code=202)


@delete("/v1/deployments/{deployment_id:str}", status_code=200, opt=MANAGEMENT)
async def stop(deployment_id: FromPath[str], service: NamedDependency[Service]) -> Response[Any]:
    """Let running requests finish, free the model and forget the deployment."""
    await service.deployments.stop(deployment_id)
    return as_json(management.Deleted(id=deployment_id))


@get("/v1/deployments/events", opt=MANAGEMENT)
async def watch(service: NamedDependency[Service]) -> ServerSentEvent:
    """Send every deployment's status now, and each one that changes, as server-sent events."""
    return ServerSentEvent(_messages(service))


async def _messages(service: Service) -> AsyncIterator[ServerSentEventMessage]:
    async with aclosing(service.deployments.events()) as events:
        async for status in events:
            data = msgspec.json.encode(status).decode()
            yield ServerSentEventMessage(data=data, event="deployment")
