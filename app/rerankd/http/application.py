"""The Litestar application over a service."""

from __future__ import annotations

from functools import partial

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from rerankd.allocator import free_cycles
from rerankd.auth.keys import KeyStore, key_store_of
from rerankd.auth.rate_limits import RateLimiters
from rerankd.budget import ByteBudget
from rerankd.errors import RerankdError
from rerankd.http import (
    catalog,
    deployments,
    embeddings,
    health,
    hub,
    keys,
    metrics,
    models,
    pages,
    routes,
    server_info,
    usage,
)
from rerankd.http.access_log import AccessLog
from rerankd.http.byte_budget import HELD, NO_ROOM, BoundedBodies
from rerankd.http.compression import Compression, tell_variants
from rerankd.http.guard import KeyGuard, cors_of, is_open_without_keys
from rerankd.http.hosts import HostNames
from rerankd.http.limits import add_limit_headers
from rerankd.http.request_line import RequestLine
from rerankd.http.statuses import answer_error, answer_framework, answer_unexpected
from rerankd.logs import recent_lines
from rerankd.service import Service
from rerankd.telemetry.observers import Telemetry
from rerankd.threads import WorkerPool


def route_handlers(
    *, metrics_public: bool = False, replica: bool = False
) -> tuple[HTTPRouteHandler, ...]:
    """Return the handlers of the API, in the order in which its document shows them."""
    return (
        routes.rerank_route(),
        embeddings.embeddings_route(),
        *(models.list_models, models.show_model, catalog.list_catalog),
        *(models.cluster_auth, models.info, models.props, models.meta),
        *(health.health, health.live, health.ready, health.weaviate_ready),
        *(deployments.list_deployments, deployments.deploy_model, deployments.watch),
        *(
            deployments.show_deployment,
            deployments.stop_deployment,
            deployments.stop_deployment_called_events,
            deployments.restart,
            deployments.change_deployment,
            usage.logs,
        ),
        *(hub.search_hub, hub.list_hub_files, hub.delete_model_files),
        *(keys.me, keys.list_keys, keys.create_key, keys.revoke_key),
        usage.usage,
        server_info.server_info,
        *(() if replica else (metrics.metrics_route(public=metrics_public),)),
    )


def create_app(
    service: Service,
    telemetry: Telemetry | None = None,
    ring: KeyStore | None = None,
    *,
    replica: bool = False,
) -> ASGIApp:
    """Return the whole application; the service is started and closed by whoever made it.

    `telemetry` counts and traces its answers. Without a `ring`, only the settings' keys are
    known, and new ones last as long as this. One `replica` of many can't be asked for what is
    true of them all: it is neither managed nor measured over HTTP.
    """
    observed = telemetry or Telemetry()
    app = litestar_app(service, observed, ring, replica=replica)
    most = max(service.settings.max_inflight_bytes, HELD * service.settings.max_body_bytes)
    trimming = WorkerPool("trim-memory", 1)
    budget = ByteBudget(most, NO_ROOM)
    bounded = BoundedBodies(
        RequestLine(app),
        budget,
        lambda quiet: trimming.begin(partial(free_cycles, quiet=quiet)),
    )
    found: ASGIApp = observed.around(AccessLog(bounded, observed))
    return found


def litestar_app(
    service: Service,
    telemetry: Telemetry,
    ring: KeyStore | None = None,
    *,
    replica: bool = False,
) -> Litestar:
    """Return the routes and what belongs to each of them; see `create_app`."""
    settings = service.settings
    known = ring or key_store_of(settings)
    cors = cors_of(settings)
    is_open = is_open_without_keys(settings)
    guard = KeyGuard(
        known,
        RateLimiters(),
        cors,
        HostNames(settings),
        open_without_keys=is_open,
        manageable=not replica,
    )
    recent_lines()
    handlers = route_handlers(metrics_public=settings.metrics_public, replica=replica)
    return Litestar(
        route_handlers=[*handlers, *pages.page_handlers(handlers)],
        dependencies={
            "service": Provide(lambda: service, sync_to_thread=False),
            "ring": Provide(lambda: known, sync_to_thread=False),
            "telemetry": Provide(lambda: telemetry, sync_to_thread=False),
        },
        guards=[guard],
        before_send=[add_limit_headers, tell_variants],
        cors_config=cors,
        middleware=[Compression],
        exception_handlers={
            RerankdError: answer_error,
            HTTPException: answer_framework,
            Exception: answer_unexpected,
        },
        request_max_body_size=settings.max_body_bytes,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
