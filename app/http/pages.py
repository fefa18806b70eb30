"""The pages for people: the API reference, complete without any other host."""

from __future__ import annotations

from pathlib import Path

from litestar import MediaType, Response, Router, get
from litestar.di import NamedDependency
from litestar.response import Redirect
from litestar.static_files import create_static_files_router

from app.dialects import native
from app.http.guard import PUBLIC
from app.http.openapi import document
from app.service import Service

STATIC = Path(__file__).parent / "static"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@get("/", opt={PUBLIC: True}, sync_to_thread=False)
def home() -> Redirect:
    """Send people to the API page."""
    return Redirect("/docs")


@get("/docs", opt={PUBLIC: True}, sync_to_thread=False)
def api_page() -> Response[bytes]:
    """Show the API reference."""
    page = (STATIC / "api.html").read_bytes()
    return Response(page, media_type=MediaType.HTML, headers=SECURITY_HEADERS)


@get("/openapi.json", opt={PUBLIC: True}, sync_to_thread=False)
def openapi(service: NamedDependency[Service]) -> Response[bytes]:
    """Give the OpenAPI document."""
    keyed = bool(service.settings.api_keys)
    return Response(native.encode(document(keyed=keyed)), media_type="application/json")


def static_files() -> Router:
    """Serve the pages' scripts and styles."""
    return create_static_files_router(
        path="/static", directories=[STATIC], opt={PUBLIC: True}, name="static"
    )
