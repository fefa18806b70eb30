"""The Litestar application over a service."""

from __future__ import annotations

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException

from app.errors import RerankdError
from app.http import pages, routes
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
        request_max_body_size=settings.max_body_bytes,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
