"""Health checks for process managers and load balancers."""

from __future__ import annotations

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct

from rerankd.deployments import LOADING_RETRY
from rerankd.errors import ModelFailed, ModelLoading, ShuttingDown
from rerankd.http.guard import PUBLIC
from rerankd.http.openapi.operation import BodySchema
from rerankd.http.openapi.route_doc import RouteDoc
from rerankd.http.openapi.tags import HEALTH_TAG
from rerankd.http.wire import Encoded
from rerankd.service import Service


class Health(Struct):
    """The answer to a health check that succeeds."""

    status: str


LIVE = RouteDoc(tag=HEALTH_TAG, reply=BodySchema(Health, {"status": "live"}))


READY = RouteDoc(
    tag=HEALTH_TAG,
    reply=BodySchema(Health, {"status": "ready"}),
    errors=(ModelLoading, ModelFailed, ShuttingDown),
)


@get("/health", opt={PUBLIC: True}, doc=READY, sync_to_thread=False)
def health(service: NamedDependency[Service]) -> Response[Any]:
    """Return the same as /health/ready."""
    _require_ready(service)
    return Encoded(Health("ready"))


@get("/health/live", opt={PUBLIC: True}, doc=LIVE, sync_to_thread=False)
def live() -> Response[Any]:
    """Check that the process responds."""
    return Encoded(Health("live"))


@get("/health/ready", opt={PUBLIC: True}, doc=READY, sync_to_thread=False)
def ready(service: NamedDependency[Service]) -> Response[Any]:
    """Check whether requests are served."""
    _require_ready(service)
    return Encoded(Health("ready"))


@get(
    "/.well-known/ready",
    opt={PUBLIC: True},
    status_code=204,
    doc=RouteDoc(tag=HEALTH_TAG, errors=(ModelLoading, ModelFailed, ShuttingDown)),
    sync_to_thread=False,
)
def weaviate_ready(service: NamedDependency[Service]) -> None:
    """Check whether requests are served, for Weaviate, which expects no body."""
    _require_ready(service)


def _require_ready(service: Service) -> None:
    """Raise what a request without a model would get now, with the model's state."""
    if service.draining:
        raise ShuttingDown("the server is stopping", retry_after=1)
    if service.ready:
        return
    failed = [one for one in service.awaited if one.state == "failed"]
    if failed:
        raise ModelFailed(f"{failed[0].id!r} could not be loaded: {failed[0].message}")
    states = ", ".join(f"{one.id!r} is {one.state}" for one in service.awaited)
    raise ModelLoading(states or "no model is deployed", retry_after=LOADING_RETRY)
