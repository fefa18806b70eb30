"""The HTTP edge: routes, guard, error statuses and the API page, over Litestar."""

from rerankd.http.access_log import AccessLog
from rerankd.http.application import create_app

__all__ = ["AccessLog", "create_app"]
