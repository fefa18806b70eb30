"""The Litestar application over a service."""

from __future__ import annotations

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException

from app.errors import RerankdError
from app.http import catalog, deployments, pages, routes
from app.http.guard import KeyGuard
from app.http.statuses import answer_error, answer_framework, answer_unexpected
from app.service import Service


def create_app(service: Service) -> Litestar:
    """Return the application; the service is started and closed by whoever made it."""
    settings = service.settings
    return Litestar(
        route_handlers=[
            routes.rerank,
            routes.list_models,
            routes.live,
            routes.ready,
            catalog.list_catalog,
            deployments.list_deployments,
            deployments.deploy,
            deployments.show_deployment,
            deployments.restart,
            deployments.stop,
            deployments.watch,
            pages.home,
            pages.api_page,
            pages.openapi,
            pages.static_files(),
        ],
        dependencies={"service": Provide(lambda: service, sync_to_thread=False)},
        guards=[KeyGuard(settings.api_keys)],
        exception_handlers={
            RerankdError: answer_error,
            HTTPException: answer_framework,
            Exception: answer_unexpected,
        },
        state=State({"keyed": bool(settings.api_keys)}),
        request_max_body_size=settings.max_body_bytes,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
