"""Keys that come and go, and deployments that do so, from this machine and from a bad Hub."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from support.hub_standin import HubStandin
from support.soak.answers import NATIVE
from support.soak.world import Traffic, World

ENDED = {"ready", "failed", "absent"}
DEPLOY_SECONDS = 60.0


class SlowHub(HubStandin):
    """A Hub that sends 50 kB a second, and cuts some downloads off."""

    def __init__(self, chosen: random.Random) -> None:
        super().__init__()
        self._chosen = chosen
        self.piece = 5000
        self.files = bad_files()

    async def _pieces(self, part: bytes, hold: int | None = None) -> AsyncIterator[bytes]:
        del hold
        cut = self._chosen.choice((None, 1000, 100_000))
        for start in range(0, len(part), self.piece):
            if cut is not None and start >= cut:
                await asyncio.sleep(self._chosen.uniform(0, 20))  # it stalls, and breaks off
                return
            await asyncio.sleep(0.1)
            yield part[start : start + self.piece]


def _gguf_text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def _header(tensors: int, pairs: int) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs)


def bad_files() -> dict[str, bytes]:
    """Return files of a repository that must not be served, nor harm whoever looks at them."""
    most = (1 << 63) - 1
    bert = _gguf_text(b"general.architecture") + struct.pack("<I", 8) + _gguf_text(b"bert")
    vocabulary = _gguf_text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, most)
    files = {
        "zeros": b"GGUF" + b"\0" * 1_000_000,
        "counts": _header(most, most),
        "string": _header(0, 2) + bert + _gguf_text(b"general.name") + struct.pack("<IQ", 8, most),
        "array": _header(0, 2) + bert + vocabulary,
        "page": b"<!DOCTYPE html><html><title>Sign in</title></html>",
        "noise": random.Random(7).randbytes(400_000),
    }
    return {f"soak/bad:{name}.gguf": content for name, content in files.items()}


async def short_lived_keys(world: World, chosen: random.Random) -> None:
    """Make a key, rank with it, revoke it, and be refused with it."""
    async with world.client() as manager:
        while world.running:
            made = await world.fetch(
                manager, "keys made", "POST", "/v1/keys", json={"name": f"k{chosen.random()}"}
            )
            if made is None:
                continue
            key = made.json()
            async with world.client(key["key"]) as client:
                for _ in range(chosen.randint(1, 5)):
                    await world.ask(client, "keyed", chosen.choice(world.small), NATIVE)
                await world.fetch(manager, "keys revoked", "DELETE", f"/v1/keys/{key['id']}")
                await _must_be_refused(world, client)
            await world.pause(chosen, 4.0)


async def _must_be_refused(world: World, client: httpx.AsyncClient) -> None:
    reply = await client.post(NATIVE.path, json=NATIVE.body(world.small[0]))
    world.tally.sent("revoked keys")
    world.tally.refuse(reply.status_code)
    if reply.status_code != 401:
        world.tally.judge("revoked keys", f"a revoked key got {reply.status_code}")


def deploys(model: Path) -> Traffic:
    """Return traffic that deploys a local file, uses it, restarts it and stops it."""

    async def deploying(world: World, chosen: random.Random) -> None:
        async with world.client() as manager:
            while world.running:
                state = await deployed(world, manager, "deploys", "soaked", str(model))
                if state == "ready":
                    wish = {"model": "soaked"}
                    for _ in range(3):
                        question = chosen.choice(world.small)
                        await world.ask(manager, "deployed", question, NATIVE, **wish)
                if state:
                    await stop_deployment(world, manager, "soaked")
                await world.pause(chosen, 8.0)

    return deploying


async def downloads(world: World, chosen: random.Random) -> None:
    """Deploy files from the bad Hub, and give some up on the way."""
    names = sorted(bad_files())
    async with world.client() as manager:
        while world.running:
            name = f"bad{chosen.randrange(10**9)}"
            model = f"hf:{chosen.choice(names)}"
            patience = chosen.choice((1.0, 5.0, DEPLOY_SECONDS))
            state = await deployed(world, manager, "downloads", name, model, patience)
            if state == "ready":
                world.tally.judge("downloads", f"{model} became ready")
            if state:
                await stop_deployment(world, manager, name)
            await world.pause(chosen, 2.0)


async def deployed(
    world: World,
    manager: httpx.AsyncClient,
    kind: str,
    name: str,
    model: str,
    patience: float = DEPLOY_SECONDS,
) -> str:
    """Deploy a model; return the state that it ends in, or has when the patience is over.

    Empty when the server refused it.
    """
    wish: dict[str, Any] = {"model": model, "id": name}
    if await world.fetch(manager, kind, "POST", "/v1/deployments", json=wish) is None:
        return ""
    state = "asked"
    try:
        async with asyncio.timeout(patience):
            while world.running and state not in ENDED:
                reply = await manager.get(f"/v1/deployments/{name}")
                state = str(reply.json().get("state", state))
                await asyncio.sleep(0.2)
    except (TimeoutError, httpx.HTTPError):
        return state
    return state


async def stop_deployment(world: World, manager: httpx.AsyncClient, name: str) -> None:
    """Stop a deployment."""
    await world.fetch(manager, "stops", "DELETE", f"/v1/deployments/{name}")
