"""GET /metrics: what Prometheus scrapes."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from rerankd.http.guard import PUBLIC
from rerankd.http.openapi.route_doc import RouteDoc
from rerankd.http.openapi.tags import USAGE_TAG
from rerankd.service import Service
from rerankd.telemetry.gauges import Snapshot
from rerankd.telemetry.observers import Telemetry
from rerankd.threads import WorkerPool

RENDERING = WorkerPool("render-metrics", 1)
"""A few thousand lines take 16 ms of computing; the event loop would answer nobody meanwhile."""


def metrics_route(*, public: bool) -> HTTPRouteHandler:
    """Return the route; unless `public`, it asks for an API key where there are any."""
    doc = RouteDoc(tag=USAGE_TAG, text_types=("text/plain", "application/openmetrics-text"))
    return get("/metrics", opt={PUBLIC: public}, doc=doc)(metrics)


async def metrics(
    request: Request[Any, Any, Any],
    service: NamedDependency[Service],
    telemetry: NamedDependency[Telemetry],
) -> Response[bytes]:
    """Return all metrics in Prometheus's text format.

    Of its two versions, the scraper gets the one that it prefers.
    """
    now = Snapshot(
        deployments=service.deployments.statuses,
        cache=service.cache,
        cache_limit=service.settings.cache_bytes,
        queue_limit=service.settings.max_queue_tokens,
    )
    accept = request.headers.get("accept", "")
    body, media_type = await RENDERING.run(telemetry.metrics.render, now, accept)
    return Response(body, headers={"Content-Type": media_type})
