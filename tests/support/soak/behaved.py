"""Clients that behave: their answers are compared with the references."""

from __future__ import annotations

import asyncio
import random
import time

import httpx
import msgspec

from support.soak.answers import NATIVE, WIRES, AskedQuestion, fault_of
from support.soak.world import Traffic, World

SLOW_READ = 4096
"""Bytes that a slow reader takes at once."""
CONSOLE_PATHS = (
    "/",
    "/docs",
    "/openapi.json",
    "/v1/models",
    "/v1/deployments",
    "/v1/catalog",
    "/v1/usage",
)


async def small_requests(world: World, chosen: random.Random) -> None:
    """Rank a few documents over a kept connection, again and again."""
    async with world.client() as client:
        while world.running:
            await world.ask(client, "small", chosen.choice(world.small), NATIVE)
            await world.pause(chosen, 0.5)


async def all_dialects(world: World, chosen: random.Random) -> None:
    """Ask in each dialect, also as MessagePack and compressed."""
    async with world.client() as client:
        while world.running:
            wire = chosen.choice(WIRES)
            await world.ask(client, "dialects", chosen.choice(world.small), wire)
            await _packed(world, client, chosen.choice(world.small))
            await world.pause(chosen, 1.0)


async def _packed(world: World, client: httpx.AsyncClient, question: AskedQuestion) -> None:
    kinds = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
    body = msgspec.msgpack.encode(NATIVE.body(question))
    reply = await world.fetch(client, "msgpack", "POST", NATIVE.path, content=body, headers=kinds)
    if reply is not None:
        found = NATIVE.read(msgspec.msgpack.decode(reply.content))
        world.tally.judge("msgpack", fault_of(question.logits, found))


async def large(world: World, chosen: random.Random) -> None:
    """Rank a thousand documents."""
    async with world.client() as client:
        while world.running:
            await world.ask(client, "large", chosen.choice(world.large), NATIVE, top_n=10)
            await world.pause(chosen, 10.0)


async def stream_lines(world: World, chosen: random.Random) -> None:
    """Take scores as lines while they are made; the last line is the ranking."""
    async with world.client() as client:
        while world.running:
            await _stream(world, client, chosen.choice(world.small))
            await world.pause(chosen, 2.0)


async def _stream(world: World, client: httpx.AsyncClient, question: AskedQuestion) -> None:
    accept = {"Accept": "application/x-ndjson"}
    reply = await world.fetch(
        client, "streamed", "POST", NATIVE.path, json=NATIVE.body(question), headers=accept
    )
    if reply is None:
        return
    *scores, ranking = [msgspec.json.decode(line) for line in reply.text.splitlines()]
    if "results" not in ranking:  # it was refused after the first score
        world.tally.refuse(int(ranking.get("error", {}).get("status", 503)))
        return
    found = NATIVE.read(ranking)
    fault = fault_of(question.logits, found)
    if not fault and len(scores) != len(question.logits):
        fault = f"{len(scores)} lines for {len(question.logits)} documents"
    world.tally.judge("streamed", fault)


async def slow_readers(world: World, chosen: random.Random) -> None:
    """Read an answer of 200 kB bit by bit; it must be whole in the end."""
    while world.running:
        begun = time.monotonic()
        question = chosen.choice(world.small)
        padded = [f"{text}{' ' * 20_000}" for text in question.documents]
        body = {**NATIVE.body(question), "documents": padded, "return_documents": True}
        try:
            status, text = await _read_slowly(world, msgspec.json.encode(body))
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            world.tally.sent("slow readers")
            world.tally.lose("slow readers", repr(error))
            continue
        world.tally.sent("slow readers", time.monotonic() - begun)
        if world.settled("slow readers", status, text):
            found = NATIVE.read(msgspec.json.decode(text))
            world.tally.judge("slow readers", fault_of(question.logits, found))
        await world.pause(chosen, 3.0)


async def _read_slowly(world: World, body: bytes) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port, limit=SLOW_READ)
    try:
        writer.write(raw_post(NATIVE.path, body, world.key, "Connection: close"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        parts = []
        while part := await reader.read(SLOW_READ):
            parts.append(part)
            await asyncio.sleep(0.02)
    finally:
        writer.close()
    return int(head.split()[1]), b"".join(parts).decode()


def raw_post(path: str, body: bytes, key: str, *more: str) -> bytes:
    """Return a whole POST as it goes over the wire."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *([f"Authorization: Bearer {key}"] if key else []),
        *more,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def abandoned(world: World, chosen: random.Random) -> None:
    """Send requests and leave before their answers."""
    while world.running:
        question = chosen.choice(world.large if chosen.random() < 0.3 else world.small)
        body = msgspec.json.encode(NATIVE.body(question))
        _, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(raw_post(NATIVE.path, body, world.key))
        await world.pause(chosen, 0.3)
        writer.transport.abort()
        world.tally.sent("abandoned")
        await world.pause(chosen, 2.0)


async def visit_pages(world: World, chosen: random.Random) -> None:
    """Open the console's pages and what they ask for."""
    async with world.client() as client:
        while world.running:
            await world.fetch(client, "console", "GET", chosen.choice(CONSOLE_PATHS))
            await world.pause(chosen, 2.0)


async def scrapes(world: World, chosen: random.Random) -> None:
    """Scrape the metrics, as Prometheus does."""
    async with world.client() as client:
        while world.running:
            await world.fetch(client, "scrapes", "GET", "/metrics")
            await world.pause(chosen, 5.0)


async def watchers(world: World, chosen: random.Random) -> None:
    """Keep an event stream of the deployments open for a while."""
    while world.running:
        async with world.client() as client:
            try:
                await asyncio.wait_for(_watch(client), chosen.uniform(1, 20))
            except TimeoutError:
                world.tally.sent("event streams")
            except (httpx.HTTPError, OSError) as error:
                world.tally.sent("event streams")
                if world.running:
                    world.tally.lose("event streams", repr(error))
        await world.pause(chosen, 1.0)


async def _watch(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/v1/deployments/events") as reply:
        reply.raise_for_status()
        async for _ in reply.aiter_lines():
            pass


BEHAVED: dict[Traffic, int] = {
    small_requests: 4,
    all_dialects: 1,
    large: 1,
    stream_lines: 1,
    slow_readers: 2,
    abandoned: 1,
    visit_pages: 1,
    scrapes: 1,
    watchers: 2,
}
"""Kinds of traffic, and how many clients of each there are."""
