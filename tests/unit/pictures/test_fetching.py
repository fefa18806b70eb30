"""Pictures behind addresses: what is asked of whom, and what is never asked."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from rerankd.errors import PictureNotFetched, PictureTooLarge, RequestError
from rerankd.pictures import PictureFetcher, PictureLimits, host_rules
from rerankd.pictures.fetching import transport_of

from support.fakes import PATIENCE
from support.places import DATA

CERTIFICATE = DATA / "pictures_test.pem"
"""Of pictures.test, signed by itself; its key is known to everybody."""
PUBLIC = "93.184.216.34"
ADDRESS = "https://example.org/a.png?token=s3cret"
Answer = Callable[[httpx.Request], httpx.Response]


class Fetch:
    """Fetches an address from servers that a test makes up, and keeps what they were asked."""

    def __init__(
        self,
        answer: Answer,
        *hosts: str,
        resolved: str = PUBLIC,
        limits: PictureLimits | None = None,
    ) -> None:
        self.asked: list[httpx.Request] = []
        self._answer = answer
        self._fetcher = PictureFetcher(
            host_rules(hosts or ["example.org"]),
            limits or PictureLimits(seconds=PATIENCE),
            lambda _host, _port: resolved.split(),
            lambda: httpx.MockTransport(self._asked),
        )

    def _asked(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._answer(request)

    def __call__(self, address: str = ADDRESS) -> bytes:
        return asyncio.run(self._fetcher.fetch(address))


async def body_of(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def ok(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=body_of(b"pic", b"ture"))


def to(*places: str) -> Answer:
    """Return what redirects from place to place, the last one to itself."""
    left = [*places]
    return lambda _request: httpx.Response(
        302, headers={"Location": left.pop(0) if left else ADDRESS}
    )


def test_the_judged_address_is_asked_by_the_hosts_name() -> None:
    """The connection goes to the address that was looked up, under the host's own name."""
    fetch = Fetch(ok)

    assert fetch() == b"picture"

    (request,) = fetch.asked
    assert str(request.url) == f"https://{PUBLIC}/a.png?token=s3cret"
    assert request.headers["host"] == "example.org"
    assert request.extensions["sni_hostname"] == "example.org"
    assert request.headers["accept-encoding"] == "identity"
    assert "authorization" not in request.headers


def test_a_redirect_is_followed_to_a_listed_host() -> None:
    """A few redirects are followed, relative ones too, each looked up anew."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/b.png":
            return ok(request)
        return httpx.Response(307, headers={"Location": "/b.png"})

    fetch = Fetch(answer)

    assert fetch() == b"picture"
    assert [one.url.path for one in fetch.asked] == ["/a.png", "/b.png"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("https://other.example/a.png", "not among picture_hosts"),
        ("http://example.org/a.png", "is not https:"),
        ("file:///etc/passwd", "is not https:"),
        ("https://169.254.169.254/latest", "not among picture_hosts"),
        ("https://user:pass@example.org/", "with a name or password in it"),
        ("https://example.org:8443/", "not among picture_hosts"),
        (ADDRESS, "behind more than 3 redirects"),
    ],
)
def test_a_redirect_leads_nowhere_else(place: str, said: str) -> None:
    """A redirect is judged as the address was, and there is an end to them."""
    fetch = Fetch(to(place))

    with pytest.raises(PictureNotFetched, match=said) as caught:
        fetch()

    assert len(fetch.asked) <= 4
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    "resolved", ["10.0.0.1", f"{PUBLIC} 127.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0"]
)
def test_a_name_of_a_private_address_is_not_asked(resolved: str) -> None:
    """One address that isn't public is enough, whatever the name is."""
    fetch = Fetch(ok, "*", resolved=resolved)

    with pytest.raises(PictureNotFetched, match="whose address is not public"):
        fetch()

    assert not fetch.asked
    assert (
        Fetch(
            ok,
            f"example.org={resolved.rsplit(maxsplit=1)[-1].partition('%')[0]}",
            resolved=resolved.rsplit(maxsplit=1)[-1],
        )()
        == b"picture"
    )


def test_a_file_has_an_end() -> None:
    """Neither an announced size nor what comes may exceed the limit."""
    small = PictureLimits(bytes=10, seconds=PATIENCE)

    for announced in ({}, {"Content-Length": "11"}):
        sent = [b"x" * 4] * 3
        answer = httpx.Response(200, headers=announced, content=body_of(*sent))
        with pytest.raises(PictureTooLarge, match=r"has more than 10 bytes \(max_picture_bytes\)"):
            Fetch(lambda _, answer=answer: answer, limits=small)()
    exactly = httpx.Response(200, content=body_of(b"x" * 10))
    assert Fetch(lambda _: exactly, limits=small)() == b"x" * 10


def test_a_host_has_no_time_without_end() -> None:
    """A host that doesn't answer is given up."""

    async def silent(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    fetcher = PictureFetcher(
        host_rules(["example.org"]),
        PictureLimits(seconds=0.01),
        lambda _host, _port: [PUBLIC],
        lambda: httpx.MockTransport(silent),
    )

    with pytest.raises(PictureNotFetched, match=r"not fetched within 0.01 s \(picture_timeout\)"):
        asyncio.run(fetcher.fetch(ADDRESS))


@pytest.mark.parametrize("status", [204, 304, 401, 404, 500])
def test_a_host_that_has_no_picture_says_so(status: int) -> None:
    """Its status is passed on, and nothing else of its answer."""
    with pytest.raises(PictureNotFetched, match=f"its host answers {status}") as caught:
        Fetch(lambda _request: httpx.Response(status, content=b"internal detail"))()

    assert "detail" not in caught.value.message


def test_what_fails_below_is_named_by_its_kind() -> None:
    """A refused connection, an unknown name and a broken address are all the same kind of error."""

    def refused(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("10.0.0.1: refused")

    def unknown(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(PictureNotFetched, match=r"can't be fetched: ConnectError$"):
        Fetch(refused)()
    fetcher = PictureFetcher(host_rules(["*"]), PictureLimits(), unknown)
    with pytest.raises(PictureNotFetched, match=r"can't be fetched: OSError$"):
        asyncio.run(fetcher.fetch(ADDRESS))
    for address in ("https://", "https://a b/", "https://\udc80/", f"https://{'a' * 300}.example/"):
        with pytest.raises(RequestError):
            asyncio.run(fetcher.fetch(address))


class _Pictures(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        host = str(self.headers["Host"]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(host)))
        self.end_headers()
        self.wfile.write(host)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _https_server() -> Iterator[int]:
    """Serve https as pictures.test on loopback; yield the port."""
    server = HTTPServer(("127.0.0.1", 0), _Pictures)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_real_host_has_to_have_its_own_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is checked for the name although the connection goes to an address."""
    trust = ssl.create_default_context(cafile=str(CERTIFICATE))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with _https_server() as port:
        fetcher = PictureFetcher(
            host_rules([f"pictures.test:{port}=127.0.0.1", f"other.test:{port}=127.0.0.1"]),
            PictureLimits(seconds=PATIENCE),
            lambda _host, _port: ["127.0.0.1"],
            lambda: transport_of(trust),
        )

        found = asyncio.run(fetcher.fetch(f"https://pictures.test:{port}/"))
        with pytest.raises(PictureNotFetched, match="ConnectError"):
            asyncio.run(fetcher.fetch(f"https://other.test:{port}/"))

    assert found == f"pictures.test:{port}".encode()
