"""Connections that are too many, too slow or silent."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from rerankd.http.chunks import LEAST_MEAN, MANY_CHUNKS
from rerankd.http.connections import (
    WARY_READ,
    BoundedProtocol,
    ConnectionLimits,
    Connections,
    protocol_for,
)

from support.fakes import PATIENCE

Server = tuple[int, ServerState, Connections]
SOON = 0.05
GET = b"GET %s HTTP/1.1\r\nHost: [::]\r\n\r\n"
LARGE = 8 * 1024 * 1024
RELEASE = threading.Event()
"""Lets `/slow` be answered."""


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """Answer `/large` with a lot, `/held` when its client leaves, `/read` after its body, `/begun`
    until its client leaves, and all else at once."""
    if scope["path"] == "/held":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    if scope["path"] == "/read":
        while (await receive()).get("more_body"):
            pass
    if scope["path"] == "/slow":
        await asyncio.to_thread(RELEASE.wait, PATIENCE)
    body = b"x" * (LARGE if scope["path"] == "/large" else 2)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/begun":
        await send({"type": "http.response.body", "body": body[:1], "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        body = body[1:]
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(**limits: Any) -> AsyncIterator[Server]:
    """Serve on a free port with these limits; yield the port and what the server knows."""
    connections = Connections(ConnectionLimits(**limits))
    config = uvicorn.Config(answering, lifespan="off", log_config=None, access_log=False)
    config.load()
    state, kind = ServerState(), protocol_for(connections)
    server = await asyncio.get_running_loop().create_server(
        lambda: kind(config, state, {}), "127.0.0.1", 0
    )
    try:
        async with asyncio.timeout(PATIENCE):
            yield server.sockets[0].getsockname()[1], state, connections
    finally:
        server.close()
        for one in list(state.connections):
            one.transport.abort()
        await server.wait_closed()


class Client:
    """A raw connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> str:
        """Read an answer's header."""
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def ask(self, path: bytes = b"/") -> str:
        """Send a request and read its answer, which has two bytes; return its header."""
        self.send(GET % path)
        found = await self.head()
        await self.reader.readexactly(2)
        return found

    async def rest(self) -> bytes:
        """Read until the server closes or resets the connection."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""


@asynccontextmanager
async def client_of(server: Server) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server[0], limit=2 * LARGE)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop go on until something holds."""
    while not condition():
        await asyncio.wait({asyncio.ensure_future(asyncio.sleep(0))})


async def hold(server: Server, client: Client) -> None:
    """Keep a connection busy with a request that is not answered."""
    client.send(GET % b"/held")
    await until(lambda: any(one.idle_since is None for one in open_in(server)))


def open_in(server: Server) -> list[BoundedProtocol]:
    """Return the server's connections."""
    return [one for one in server[1].connections if isinstance(one, BoundedProtocol)]


def run(case: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await case()

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"", b""), (b"GET / HTTP/1.1\r\nHost: [::]\r\nX-Slow: ", b"HTTP/1.1 408")],
)
def test_a_request_that_does_not_come_ends_its_connection(sent: bytes, status: bytes) -> None:
    """Silence is closed without a word, half a header with 408."""

    async def case() -> None:
        async with serving(header=SOON) as server, client_of(server) as client:
            client.send(sent)
            answer = await client.rest()
            assert answer[: len(status)] == status
            assert bool(answer) == bool(sent)
            assert len(server[2]) == 0

    run(case)


def test_a_header_that_trickles_in_gets_no_more_time() -> None:
    """Each byte comes in time, but not the whole."""

    async def case() -> None:
        async with serving(header=SOON) as server, client_of(server) as client:
            client.send(b"GET / HTTP/1.1\r\nX-Slow: ")
            closed = asyncio.ensure_future(client.rest())
            while not closed.done():
                client.send(b"x")
                await asyncio.wait({closed}, timeout=SOON / 10)
            assert closed.result()[:12] in {b"", b"HTTP/1.1 408"}  # a reset takes it back

    run(case)


def test_a_connection_is_kept_for_the_next_request() -> None:
    """It serves several requests, and is closed when none comes for long enough."""

    async def case() -> None:
        async with serving(keep_alive=SOON, header=PATIENCE) as server, client_of(server) as client:
            assert "200" in await client.ask()
            assert "200" in await client.ask()
            assert await client.rest() == b""

    run(case)


def test_a_second_header_has_a_deadline_too() -> None:
    """What begins on a kept connection is held to the header's time, not the idle time."""

    async def case() -> None:
        async with serving(keep_alive=PATIENCE, header=SOON) as server, client_of(server) as client:
            await client.ask()
            client.send(b"GET / HT")
            assert (await client.rest()).startswith(b"HTTP/1.1 408")

    run(case)


def test_the_longest_idle_connection_makes_room() -> None:
    """A new client is served although there are as many connections as there may be."""

    async def case() -> None:
        async with serving(most=2) as server, client_of(server) as oldest, client_of(server) as old:
            await oldest.ask()
            await old.ask()
            async with client_of(server) as new:
                assert "200" in await new.ask()
                assert await oldest.rest() == b""
                assert "200" in await old.ask()
                assert server[2].refused == 0

    run(case)


@pytest.mark.parametrize("limits", [{"most": 1}, {"most_per_address": 1}])
def test_health_is_answered_when_all_connections_are_busy(limits: dict[str, int]) -> None:
    """Beyond the limit a connection may ask for the server's health, and nothing else."""

    async def case() -> None:
        async with serving(**limits) as server, client_of(server) as busy:
            await hold(server, busy)
            async with client_of(server) as probe:
                assert "200" in await probe.ask(b"/health/live")
                assert await probe.rest() == b""
            async with client_of(server) as other:
                other.send(GET % b"/v1/models")
                answer = (await other.rest()).decode()
                assert answer.startswith("HTTP/1.1 503")
                assert "overloaded" in answer
                assert server[2].refused == 2

    run(case)


def test_beyond_the_reserve_connections_are_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of connections has an end, whatever is asked on them."""
    monkeypatch.setattr("rerankd.http.connections.RESERVE", 0)

    async def case() -> None:
        async with serving(most=1) as server, client_of(server) as busy:
            await hold(server, busy)
            async with client_of(server) as late:
                late.send(GET % b"/health")
                assert await late.rest() == b""
                assert len(server[2]) == 1

    run(case)


def test_an_answer_that_is_not_read_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client doesn't read is dropped after a while."""
    monkeypatch.setattr("rerankd.http.connections.SLOWEST_READER", LARGE * 1000)

    async def case() -> None:
        async with serving(write=SOON) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server[0], limit=1024)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(GET % b"/large")
            await until(lambda: bool(open_in(server)))
            await until(lambda: not open_in(server))
            writer.transport.abort()
            del reader

    run(case)


def test_a_large_answer_that_is_read_arrives_whole() -> None:
    """A client that keeps reading gets everything."""

    async def case() -> None:
        async with serving(write=PATIENCE) as server, client_of(server) as client:
            client.send(GET % b"/large")
            await client.head()
            assert len(await client.reader.readexactly(LARGE)) == LARGE

    run(case)


def test_an_idle_connection_gets_a_last_answer_when_the_server_stops() -> None:
    """A request that crosses the server's end is answered, and told that the connection closes."""

    async def case() -> None:
        async with serving() as server, client_of(server) as client:
            await client.ask()
            for one in open_in(server):
                one.shutdown()
            answer = await client.ask()
            assert "200" in answer
            assert "connection: close" in answer.lower()
            assert await client.rest() == b""

    run(case)


def test_a_running_request_says_that_its_connection_ends() -> None:
    """The client of a request that the server's end overtakes sends its next one elsewhere."""

    async def case() -> None:
        async with serving() as server, client_of(server) as client:
            client.send(GET % b"/slow")
            await until(lambda: any(one.idle_since is None for one in open_in(server)))
            for one in open_in(server):
                one.shutdown()
            RELEASE.set()
            assert "connection: close" in (await client.head()).lower()

    RELEASE.clear()
    run(case)


def test_a_stopping_server_does_not_wait_for_idle_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection without a request is closed soon."""
    monkeypatch.setattr("rerankd.http.connections.LINGER", SOON)

    async def case() -> None:
        async with serving() as server, client_of(server) as idle, client_of(server) as silent:
            await idle.ask()
            await until(lambda: len(open_in(server)) == 2)
            for one in open_in(server):
                one.shutdown()
            assert await idle.rest() == b""
            assert await silent.rest() == b""

    run(case)


def test_a_client_that_leaves_is_forgotten() -> None:
    """Connections that end by themselves count no more."""

    async def case() -> None:
        async with serving() as server:
            async with client_of(server) as client:
                await client.ask()
                assert len(server[2]) == 1
            await until(lambda: len(server[2]) == 0)

    run(case)


POST = b"POST /read HTTP/1.1\r\nHost: [::]\r\n"
CHUNKED, END = POST + b"Transfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"


def sizes_read(monkeypatch: pytest.MonkeyPatch, *requests: bytes) -> list[list[int]]:
    """Send requests in turn over one connection; return the sizes of what was read of each."""
    sizes: list[list[int]] = []
    take = BoundedProtocol.data_received

    def noting(connection: BoundedProtocol, data: bytes) -> None:
        sizes[-1].append(len(data))
        take(connection, data)

    monkeypatch.setattr(BoundedProtocol, "data_received", noting)

    async def run() -> None:
        async with serving() as server, client_of(server) as client:
            for request in requests:
                sizes.append([])
                client.send(request)
                assert "200" in await client.head()
                await client.reader.readexactly(2)

    asyncio.run(run())
    return sizes


def test_a_body_in_tiny_chunks_never_holds_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast they come, only so many are handled before others get their turn."""
    (sizes,) = sizes_read(monkeypatch, CHUNKED + b"1\r\na\r\n" * MANY_CHUNKS + END)

    assert max(sizes) <= WARY_READ


def test_a_body_of_known_length_is_read_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows it is read with care again."""
    body = POST + b"Content-Length: 1000000\r\n\r\n" + b"a" * 1_000_000

    first, second = sizes_read(monkeypatch, body, body)

    assert first[0] <= WARY_READ < max(first)
    assert second[0] <= WARY_READ < max(second)


@pytest.mark.parametrize(
    ("size", "status"), [(1, "400"), (LEAST_MEAN - 1, "400"), (LEAST_MEAN, "200")]
)
def test_a_body_in_crumbs_is_refused(size: int, status: str) -> None:
    """More chunks than any client needs must have some size; each body is counted alone."""
    chunk = b"%x\r\n%s\r\n" % (size, b"a" * size)
    few = CHUNKED + b"1\r\na\r\n" * MANY_CHUNKS + END

    async def run() -> str:
        async with serving() as server, client_of(server) as client:
            client.send(few)
            assert "200" in await client.head()
            await client.reader.readexactly(2)
            client.send(CHUNKED + chunk * (MANY_CHUNKS + 1) + END)
            return await client.head()

    assert status in asyncio.run(run()).partition("\r\n")[0]


@pytest.mark.parametrize(("size", "status"), [(60_000, "200"), (80_000, "400")])
def test_a_header_has_one_limit_however_it_arrives(size: int, status: str) -> None:
    """Big cookies pass, and what no client sends does not."""

    async def run() -> str:
        async with serving() as server, client_of(server) as client:
            client.send(GET[:-2] % b"/" + b"Cookie: " + b"a" * size + b"\r\n\r\n")
            return await client.head()

    assert status in asyncio.run(run()).partition("\r\n")[0]


@pytest.mark.parametrize("path", [b"/", b"/read", b"/held", b"/slow"])
def test_what_is_not_http_is_refused_once(path: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the application does with the request whose body it comes in."""

    async def run() -> bytes:
        RELEASE.clear()
        async with serving() as server, client_of(server) as client:
            client.send(CHUNKED.replace(b"/read", path) + b"no size\r\n")
            answer = await client.rest()
            RELEASE.set()
            await until(lambda: not server[1].tasks)
            return answer

    answer = asyncio.run(run())

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"\r\n\r\n") == 1
    assert b'"code":"invalid_request"' in answer
    assert [one for one in caplog.records if one.levelname == "ERROR"] == []


def test_what_is_not_http_ends_an_answer_that_has_begun(caplog: pytest.LogCaptureFixture) -> None:
    """A second answer in its middle would be taken for a part of it."""

    async def run() -> bytes:
        async with serving() as server, client_of(server) as client:
            client.send(CHUNKED.replace(b"/read", b"/begun"))
            assert "200" in await client.head()
            client.send(b"no size\r\n")
            answer = await client.rest()
            await until(lambda: not server[1].tasks)
            return answer

    assert asyncio.run(run()) == b"x"
    assert [one for one in caplog.records if one.levelname == "ERROR"] == []


def test_an_offer_of_another_protocol_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """Java's client makes it with every first request; it is answered in HTTP/1.1."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"

    async def run() -> str:
        async with serving() as server, client_of(server) as client:
            client.send((GET % b"/").removesuffix(b"\r\n") + offer + b"\r\n")
            return await client.head()

    assert "200" in asyncio.run(run()).partition("\r\n")[0]
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []
