"""The HTTP edge: routes, guard, error statuses and the API page, over Litestar."""

from app.http.access_log import AccessLog
from app.http.application import create_app

__all__ = ["AccessLog", "create_app"]
