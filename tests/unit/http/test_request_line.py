"""HEAD, absolute-form targets, offers of HTTP/2 and pages below a proxy's prefix."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import unquote, urljoin, urlsplit

import httpx
import pytest
from litestar.testing import TestClient
from litestar.types import ASGIApp, Receive, Scope, Send

from rerankd.http.request_line import RequestLine

from support.serving import app_of, client_of, server_of, service_of

BODY = json.dumps({"query": "q", "documents": ["one", "one two"]}).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Yield the address of a server over a real socket."""
    with server_of(service_of()) as found:
        yield found


def exchange(url: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, and return the answer's status, its headers and all that follows them."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=20) as line:
        line.sendall(request)
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(one.lower().split(": ", 1) for one in lines), rest


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/health", "/health/live", "/v1/models", "/openapi.json", "/metrics"]
)
def test_head_is_get_without_its_body(url: str, path: str) -> None:
    """The headers are the same, the length of the body included."""
    request = b"%%b %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode()
    status, headers, body = exchange(url, request % b"HEAD")
    wanted, full, content = exchange(url, request % b"GET")

    assert (status, body) == (wanted, b"") == (200, b"")
    assert content
    for name in ("content-type", "content-length"):
        assert (name == "content-length" and path == "/metrics") or headers[name] == full[name]


def test_head_of_a_stream_ends() -> None:
    with client_of(service_of()) as client:
        assert client.head("/v1/deployments/events").content == b""


def test_head_elsewhere_is_refused(url: str) -> None:
    response = httpx.head(f"{url}/v1/rerank")

    assert (response.status_code, response.content) == (405, b"")


def test_targets_may_have_the_absolute_form(url: str) -> None:
    """The authority in it counts, not the Host header, as RFC 9112 has it."""
    place = urlsplit(url).netloc.encode()
    head = b"POST http://%b/v1/rerank?x=1 HTTP/1.1\r\nHost: other\r\nConnection: close\r\n"
    status, _, body = exchange(url, head % place + LENGTH + b"\r\n" + BODY)
    bare, _, page = exchange(
        url, b"GET HTTP://localhost HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )

    assert (status, len(json.loads(body)["results"])) == (200, 2)
    assert (bare, b"<!doctype html>" in page) == (200, True)


def test_the_authority_of_a_target_replaces_the_host_header() -> None:
    """Whoever checks the name of the host checks the one that was asked for."""
    seen: list[Any] = []

    async def record(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        seen.append(scope)

    target = "http://evil.example/v1/a%20b"
    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": unquote(target),
        "raw_path": target.encode(),
        "headers": [(b"host", b"localhost"), (b"accept", b"*/*")],
    }
    asyncio.run(RequestLine(record)(scope, cast("Receive", None), cast("Send", None)))

    assert seen[0]["path"] == "/v1/a b"
    assert seen[0]["headers"] == [(b"host", b"evil.example"), (b"accept", b"*/*")]


def test_an_offer_of_http2_keeps_its_body(url: str) -> None:
    """Java's client offers h2c with every request; the server goes on with HTTP/1.1."""
    offer = (
        b"POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\n"
    )
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=20) as line:
        line.sendall(offer + LENGTH + b"\r\n" + BODY)
        answer = line.recv(65536)

    assert answer.startswith(b"HTTP/1.1 200")


def below(prefix: str, app: ASGIApp) -> ASGIApp:
    """Return an application behind a proxy that strips a prefix and knows nothing else."""

    async def proxied(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith(f"{prefix}/"), scope["path"]
            scope["path"] = scope["path"].removeprefix(prefix)
            scope["raw_path"] = scope["path"].encode()
        await app(scope, receive, send)

    return proxied


@pytest.mark.parametrize("path", ["/docs/", "/tools/rerank/docs/"])
def test_a_slash_after_docs_leads_to_the_page(path: str) -> None:
    """Its links are relative, and a proxy's prefix is known to the client alone."""
    prefix = "/tools/rerank" if path.startswith("/tools") else ""
    app = app_of(service_of())
    with TestClient(below(prefix, app) if prefix else app, base_url="http://127.0.0.1") as client:
        response = client.get(path, follow_redirects=False)

    assert response.status_code == 308
    assert urljoin(path, response.headers["location"]) == f"{prefix}/docs"


@pytest.mark.parametrize("page", ["/tools/rerank/", "/tools/rerank/docs"])
def test_pages_stay_below_a_prefix(page: str) -> None:
    """All that a page and its modules load is found there; nothing is named from the root."""
    with TestClient(
        below("/tools/rerank", app_of(service_of())), base_url="http://127.0.0.1"
    ) as client:
        seen, left = set[str](), [page]
        while left:
            path = left.pop()
            response = client.get(path)
            assert response.status_code == 200, path
            seen.add(path)
            links = re.findall(
                r"""(?:href|src)="(?!#|data:)([^"]+)"|from "(\.[^"]+)\"""",
                response.text if path.endswith(".js") or path == page else "",
            )
            found = {urljoin(path, "".join(link)) for link in links}
            left += [one for one in found if one not in seen and one not in left]

    assert len(seen) > 5
