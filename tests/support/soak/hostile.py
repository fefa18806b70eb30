"""Clients that mean harm, over bare connections from an address of their own."""

from __future__ import annotations

import asyncio
import gzip
import random
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

import msgspec

from support.soak.answers import NATIVE
from support.soak.behaved import raw_post
from support.soak.world import HOSTILE_ADDRESS, World

RawConnection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Attack: TypeAlias = Callable[[World, RawConnection, random.Random], Awaitable[None]]

HOLD = 15.0
"""Seconds for which a connection is held at most."""
GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200,  # a TLS handshake
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"\0" * 4096,
    b"GET " + b"a" * 100_000,
    b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(20_000)) + b"\r\n",
    b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\na\r\n" * 100_000,
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, gzip\r\n\r\n",
    b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
)


def malformed_bodies() -> Iterator[tuple[str, bytes]]:
    """Yield bodies that are no requests, each with one more header."""
    plain = "X-None: 1"
    yield plain, b"{" * 50_000
    yield plain, b'{"query":' + b"[" * 100_000
    yield plain, b'{"query":"q","documents":[' + b'{"text":""},' * 200_000
    yield plain, b"{" + b",".join(b'"k%d":0' % n for n in range(100_000)) + b"}"
    yield plain, b'{"query":"q","documents":["\xff\xfe"]}'
    yield plain, b'{"query":"q","documents":' + b"9" * 100_000 + b"}"
    yield "Content-Type: application/msgpack", b"\x91" * 100_000
    yield "Content-Type: application/msgpack", b"\xdf\xff\xff\xff\xff"
    yield "Content-Encoding: gzip", gzip.compress(b" " * 100_000_000, 1)
    yield "Content-Encoding: gzip", gzip.compress(b"{}")[:-8] + b"\0" * 1000


MALFORMED = tuple(malformed_bodies())


async def idle(world: World, connection: RawConnection, chosen: random.Random) -> None:
    """Say nothing, or half a header."""
    del world
    connection[1].write(
        chosen.choice((b"", b"G", b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nX-Slow:"))
    )
    await until_closed(connection)


async def dripping(world: World, connection: RawConnection, chosen: random.Random) -> None:
    """Send a header byte by byte, or a body in chunks of one byte."""
    head = b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\n"
    if chosen.random() < 0.5:
        auth = f"Authorization: Bearer {world.key}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection[1].write(head + auth.encode())
        pieces = [b"1\r\n%c\r\n" % byte for byte in b'{"query":"' + b"a" * 1000]
    else:
        pieces = [b"%c" % byte for byte in head + b"X-Slow: " + b"a" * 1000]
    for piece in pieces:
        connection[1].write(piece)
        await asyncio.sleep(0.05)


async def garbage(world: World, connection: RawConnection, chosen: random.Random) -> None:
    """Send what is not HTTP/1.1."""
    connection[1].write(chosen.choice(GARBAGE))
    await take_refusal(world, connection)


async def malformed(world: World, connection: RawConnection, chosen: random.Random) -> None:
    """Send a body that can't be read."""
    header, body = chosen.choice(MALFORMED)
    connection[1].write(raw_post(NATIVE.path, body, world.key, header, "Connection: close"))
    await take_refusal(world, connection)


async def oversized(world: World, connection: RawConnection, chosen: random.Random) -> None:
    """Announce more than may be sent, or send it in chunks without saying how much."""
    size = 40_000_000
    if chosen.random() < 0.5:
        connection[1].write(
            raw_post(NATIVE.path, b" ", world.key).replace(b"Length: 1", b"Length: %d" % size)
        )
    else:
        head = raw_post(NATIVE.path, b"", world.key)
        connection[1].write(head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        for _ in range(size // 1_000_000):
            connection[1].write(b"f4240\r\n" + b" " * 1_000_000 + b"\r\n")
            await connection[1].drain()
    await take_refusal(world, connection)


async def unread(world: World, connection: RawConnection, chosen: random.Random) -> None:
    """Ask for much and read nothing: an answer, lines or an event stream."""
    padded = [text + " " * 100_000 for text in world.small[0].documents]
    body = {**NATIVE.body(world.small[0]), "documents": padded, "return_documents": True}
    head = "GET /v1/deployments/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
    lines = raw_post(
        NATIVE.path,
        msgspec.json.encode(NATIVE.body(chosen.choice(world.large))),
        world.key,
        "Accept: application/x-ndjson",
    )
    whole = raw_post(NATIVE.path, msgspec.json.encode(body), world.key)
    connection[1].write(chosen.choice((whole, lines, f"{head}{world.key}\r\n\r\n".encode())))
    await world.pause(chosen, HOLD)


async def unfinished(world: World, connection: RawConnection, chosen: random.Random) -> None:
    """Send a body but for its last byte."""
    size = chosen.choice((100, 100_000, 8_000_000))
    body = raw_post(NATIVE.path, b" " * size, world.key)
    connection[1].write(body[:-1])
    await world.pause(chosen, HOLD)


async def pipelined(world: World, connection: RawConnection, chosen: random.Random) -> None:
    """Send a thousand requests at once and don't wait for answers."""
    one = chosen.choice(
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", raw_post(NATIVE.path, b"{}", world.key))
    )
    connection[1].write(one * 1000)
    await until_closed(connection, 3.0)


async def strangers(world: World, connection: RawConnection, chosen: random.Random) -> None:
    """Ask for what takes a key, without one or with a wrong one."""
    key = chosen.choice(("", "wrong", "x" * 7000))
    path = chosen.choice((NATIVE.path, "/v1/keys", "/v1/deployments", "/no/such/path"))
    connection[1].write(raw_post(path, b'{"model":"x"}', key, "Connection: close"))
    await take_refusal(world, connection)


async def until_closed(connection: RawConnection, patience: float = HOLD) -> bytes:
    """Read until the server closes, or for some time; return what came."""
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(patience):
            while part := await connection[0].read(65536):
                parts.append(part)
    except TimeoutError:
        pass
    return b"".join(parts)


async def take_refusal(world: World, connection: RawConnection) -> None:
    """Count the refusal that a hostile request gets."""
    found = re.match(rb"HTTP/1\.1 (\d+)", await until_closed(connection))
    if found and int(found[1]) >= 400:
        world.tally.refuse(int(found[1]))


ATTACKS: tuple[Attack, ...] = (
    *(idle, idle, idle, dripping, garbage, garbage, malformed, malformed),
    *(oversized, unread, unread, unfinished, pipelined, strangers),
)


async def hostile(world: World, chosen: random.Random) -> None:
    """Attack in one way after another."""
    while world.running:
        attack = chosen.choice(ATTACKS)
        try:
            connection = await asyncio.open_connection(
                "127.0.0.1", world.port, local_addr=(HOSTILE_ADDRESS, 0)
            )
        except OSError:
            await world.pause(chosen, 0.5)
            continue
        try:
            await attack(world, connection, chosen)
        except OSError:
            pass  # the server has closed the connection, as it may
        finally:
            connection[1].transport.abort()
            world.tally.sent(f"hostile, {attack.__name__}")
        await world.pause(chosen, 0.5)
