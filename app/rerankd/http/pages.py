"""The pages for people: the console and the API reference, complete without any other host."""

from __future__ import annotations

from pathlib import Path

from litestar import MediaType, Response, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.static_files import create_static_files_router

from rerankd.auth.keys import KeyStore
from rerankd.http.guard import PUBLIC
from rerankd.http.openapi import encoded

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


@get("/", opt={PUBLIC: True}, sync_to_thread=False)
def console() -> Response[bytes]:
    """Show the console; what it may do is decided by the key that a person signs in with."""
    return _page("console/console.html")


@get("/docs", opt={PUBLIC: True}, sync_to_thread=False)
def api_page() -> Response[bytes]:
    """Show the API reference."""
    return _page("api.html")


def _page(file: str) -> Response[bytes]:
    content = (STATIC / file).read_bytes()
    return Response(content, media_type=MediaType.HTML, headers=SECURITY_HEADERS)


@get("/openapi.json", opt={PUBLIC: True})
async def openapi(ring: NamedDependency[KeyStore]) -> Response[bytes]:
    """Give the OpenAPI document."""
    await ring.refresh()
    return Response(encoded(keyed=ring.asks), media_type="application/json")


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
