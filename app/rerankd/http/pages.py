"""The pages for people: the console and the API reference, complete without any other host."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.static_files import create_static_files_router

from rerankd.auth.keys import KeyStore
from rerankd.http.guard import PUBLIC
from rerankd.http.openapi.document import document
from rerankd.threads import run_apart

STATIC = Path(__file__).parent / "static"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@get("/", opt={PUBLIC: True}, include_in_schema=False, sync_to_thread=False)
def console() -> Response[bytes]:
    """Show the console; what it may do is decided by the key that a person signs in with."""
    return _page("console/console.html")


@get("/docs", opt={PUBLIC: True}, include_in_schema=False, sync_to_thread=False)
def api_page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Show the API reference, where its relative links lead to the server's other paths."""
    asked = request.scope["raw_path"].decode("latin-1")
    extra = len(asked) - len(asked.rstrip("/"))
    if extra:  # relative itself, because only the proxy knows its prefix
        return Response(b"", status_code=308, headers={"Location": f"{'../' * extra}docs"})
    return _page("api.html")


def _page(file: str) -> Response[bytes]:
    content = (STATIC / file).read_bytes()
    return Response(content, media_type=MediaType.HTML, headers=SECURITY_HEADERS)


def openapi_route(described: Sequence[object]) -> HTTPRouteHandler:
    """Return the route that gives the OpenAPI document of some route handlers."""

    @functools.cache  # it takes some time to make, and never changes
    def encoded(*, keyed: bool) -> bytes:
        return msgspec.json.encode(document(described, keyed=keyed))

    @get("/openapi.json", opt={PUBLIC: True}, include_in_schema=False)
    async def openapi(ring: NamedDependency[KeyStore]) -> Response[bytes]:
        """Give the OpenAPI document."""
        await ring.refresh()
        content = await run_apart("make-openapi", encoded, keyed=ring.requires_key)
        return Response(content, media_type="application/json")

    return openapi


def static_files() -> Router:
    """Serve the pages' scripts and styles."""
    return create_static_files_router(
        path="/static",
        directories=[STATIC],
        opt={PUBLIC: True},
        name="static",
        # Asked for again each time, and answered with 304: modules of two versions never mix.
        cache_control=CacheControlHeader(no_cache=True),
    )


def page_handlers(described: Sequence[object]) -> tuple[HTTPRouteHandler | Router, ...]:
    """Return the handlers of all pages; the API page shows the document of `described`."""
    return (console, api_page, openapi_route(described), static_files())
