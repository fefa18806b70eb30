"""The routes of deployments: list, deploy, look at, load again, stop, and watch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

from litestar import Request, Response, delete, get, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers.base import BaseRouteHandler
from litestar.params import FromPath
from litestar.response import ServerSentEvent, ServerSentEventMessage

from app.dialects import management, native
from app.errors import DownloadError, Forbidden, InvalidRequest
from app.http.guard import is_loopback
from app.http.routes import as_json, body_of
from app.loading import require_known
from app.service import Service
from app.settings import Settings
from app.sources import name_of


def from_here_or_with_key(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Guard: without any API key, only callers on this machine may manage.

    Raises Forbidden. What a browser sends for another site's page is refused as well.
    """
    del handler
    client = connection.client
    keyed = bool(connection.app.state.keyed)
    host = connection.headers.get("host", "")
    # The name as well: another site's name may have been made to lead to this machine.
    if not keyed and not (client and is_loopback(client.host) and is_loopback(_name_in(host))):
        raise Forbidden("models are managed from this machine only, or with an API key")
    origin = connection.headers.get("origin")
    if origin and origin.partition("://")[2] != host:
        raise Forbidden("another site's page may not manage this server")


def _name_in(host: str) -> str:
    """Return a Host header's name without its port, nothing where it makes no sense."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


@get("/v1/deployments", guards=[from_here_or_with_key], sync_to_thread=False)
def list_deployments(service: NamedDependency[Service]) -> Response[bytes]:
    """List all deployments."""
    return as_json(management.DeploymentList(data=service.deployments.statuses))


@post("/v1/deployments", status_code=202, guards=[from_here_or_with_key])
async def deploy(
    request: Request[Any, Any, Any], service: NamedDependency[Service]
) -> Response[bytes]:
    """Begin to download and load a model."""
    settings = service.settings
    wire = management.read(await body_of(request, settings.read_timeout))
    spec = management.spec(wire, _own_name(wire.model, settings))
    require_known(spec, settings)
    return as_json(service.deployments.deploy(spec).status, status_code=202)


def _own_name(model: str, settings: Settings) -> str:
    try:
        return name_of(model, settings)
    except DownloadError as error:  # nothing was asked of the Hub yet: the reference is wrong
        raise InvalidRequest(error.message, param="model") from error


@get("/v1/deployments/{deployment_id:str}", guards=[from_here_or_with_key], sync_to_thread=False)
def show_deployment(
    deployment_id: FromPath[str], service: NamedDependency[Service]
) -> Response[bytes]:
    """Tell how one deployment stands."""
    return as_json(service.deployments.status(deployment_id))


@post(
    "/v1/deployments/{deployment_id:str}/restart", status_code=202, guards=[from_here_or_with_key]
)
async def restart(
    deployment_id: FromPath[str], service: NamedDependency[Service]
) -> Response[bytes]:
    """Load a model again that is absent or failed."""
    service.deployments.restart(deployment_id)
    return as_json(service.deployments.status(deployment_id), status_code=202)


@delete("/v1/deployments/{deployment_id:str}", status_code=200, guards=[from_here_or_with_key])
async def stop(deployment_id: FromPath[str], service: NamedDependency[Service]) -> Response[bytes]:
    """Let running requests finish, free the model and forget the deployment."""
    await service.deployments.stop(deployment_id)
    return as_json(management.Deleted(id=deployment_id))


@get("/v1/deployments/events", guards=[from_here_or_with_key])
async def watch(service: NamedDependency[Service]) -> ServerSentEvent:
    """Send every deployment's status now, and each one that changes, as server-sent events."""
    return ServerSentEvent(_messages(service))


async def _messages(service: Service) -> AsyncIterator[ServerSentEventMessage]:
    async with aclosing(service.deployments.events()) as events:
        async for status in events:
            data = native.encode(status).decode()
            yield ServerSentEventMessage(data=data, event="deployment")
