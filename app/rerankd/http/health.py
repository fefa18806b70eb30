"""Health checks for process managers and load balancers."""

from __future__ import annotations

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct

from rerankd.deployments import LOADING_RETRY
from rerankd.errors import ModelLoading, ShuttingDown
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


@get("/health", opt={PUBLIC: True}, doc=LIVE, sync_to_thread=False)
def live_alias() -> Response[Any]:
    """Return the same as /health/live."""
    return Encoded(Health("live"))


@get("/health/live", opt={PUBLIC: True}, doc=LIVE, sync_to_thread=False)
def live() -> Response[Any]:
    """Check that the process responds."""
    return Encoded(Health("live"))


@get(
    "/health/ready",
    opt={PUBLIC: True},
    doc=RouteDoc(
        tag=HEALTH_TAG,
        reply=BodySchema(Health, {"status": "ready"}),
        errors=(ModelLoading, ShuttingDown),
    ),
    sync_to_thread=False,
)
def ready(service: NamedDependency[Service]) -> Response[Any]:
    """Check whether requests are served."""
    if service.draining:
        raise ShuttingDown("the server is stopping", retry_after=1)
    if not service.ready:
        raise ModelLoading("no model is ready yet", retry_after=LOADING_RETRY)
    return Encoded(Health("ready"))


@get(
    "/.well-known/ready",
    opt={PUBLIC: True},
    status_code=204,
    doc=RouteDoc(tag=HEALTH_TAG, errors=(ModelLoading,)),
    sync_to_thread=False,
)
def weaviate_ready(service: NamedDependency[Service]) -> None:
    """Check whether requests are served, for Weaviate, which expects no body."""
    if not service.ready:
        raise ModelLoading("no model is ready yet", retry_after=LOADING_RETRY)
