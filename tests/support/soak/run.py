"""Soak a server: `PYTHONPATH=tests python -m support.soak.run MINUTES [--seed N] [--out FOLDER]`.

Starts `rerankd serve` and a stand-in Hub, sends mixed traffic for so many minutes, waits until all
is calm, and compares. Writes soak.md and soak.json; exits with 1 when a bound was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.hub_standin import listening
from support.places import ROOT, SOURCE
from support.soak import pulse
from support.soak.answers import NATIVE, AskedQuestion, questions
from support.soak.behaved import BEHAVED
from support.soak.hostile import hostile
from support.soak.managed import SlowHub, deploys, downloads, short_lived_keys
from support.soak.tally import Process, SoakOutcome, Tally
from support.soak.world import Traffic, World

SOAK_KEY = "soak-key-that-allows-everything"
DEPLOYED_MODEL = ROOT / "models" / "rerank-mini-en-q8_0.gguf"
CALM = 60.0
"""Seconds after the end at which memory is measured."""
WARM_UP_SECONDS = 60.0
"""By then each kind of traffic was there, so that memory has been at its height once."""
SETTLING = 30.0
"""Seconds after the warm-up at which memory is measured: the server gives back what it freed
20 s after the last body."""
HOSTILE_CLIENTS = 60
NICE = 10
"""How far traffic steps back behind the server and the health checks."""
BETWEEN_CHECKS = 0.1
START_SECONDS, STOP_SECONDS = 60.0, 60.0
TRAFFIC: dict[Traffic, int] = {
    **BEHAVED,
    short_lived_keys: 1,
    deploys(DEPLOYED_MODEL): 1,
    downloads: 6,
    hostile: HOSTILE_CLIENTS,
}


class SoakedServer:
    """The server's process and its log."""

    def __init__(self, folder: Path, hub: str) -> None:
        self.log = folder / "log"
        options = ("--port", "0", "--state-dir", str(folder / "state"), "--log-format", "json")
        few = ("--cache-bytes", "65536", "--vector-cache-bytes", "1048576")
        crowd = ("--max-connections-per-address", "40", "--read-timeout", "10")
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rerankd", "serve", *options, *few, *crowd],
                env={
                    **{name: os.environ[name] for name in ("PATH",)},
                    "HOME": str(folder),
                    "PYTHONPATH": str(SOURCE),
                    "RERANKD_API_KEYS": SOAK_KEY,
                    "HF_HOME": str(folder / "hub"),
                    "HF_ENDPOINT": hub,
                    "HF_HUB_DISABLE_XET": "1",
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def port(self) -> int:
        """Wait until the server is ready; return its port."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            text = self.log.read_text("utf-8")
            if "listening on" in text:
                port = int(text.split("listening on http://127.0.0.1:")[1].split('"')[0])
                if pulse.health_check(port, "/health/ready") is not None:
                    return port
            time.sleep(0.1)
        raise SystemExit(f"error: the server did not start:\n{self.log.read_text('utf-8')}")

    def measured(self) -> Process:
        """Return what the process holds now."""
        place = Path(f"/proc/{self.process.pid}")
        facts = dict(
            line.split(":", 1) for line in (place / "status").read_text("ascii").splitlines()
        )
        return Process(
            megabytes=int(facts["VmRSS"].split()[0]) * 1024 / 1e6,
            files=len(list((place / "fd").iterdir())),
            threads=int(facts["Threads"]),
        )

    def stop(self) -> float:
        """Stop it with SIGTERM; return the seconds that this took."""
        begun = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - begun


@contextmanager
def watched(port: int, found: dict[str, Any]) -> Iterator[None]:
    """Check the server's health meanwhile, in a process of its own; put the result in `found`."""
    program = [sys.executable, str(Path(pulse.__file__)), str(port), str(BETWEEN_CHECKS)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as watcher:
        assert watcher.stdout
        watcher.stdout.readline()
        try:
            yield
        finally:
            watcher.send_signal(signal.SIGTERM)
            found.update(json.loads(watcher.communicate()[0]))


async def referenced(world: World, asked: list[AskedQuestion]) -> list[AskedQuestion]:
    """Return questions with the logits that the idle server gives them, one after another."""
    found = []
    async with world.client() as client:
        for one in asked:
            reply = await client.post(NATIVE.path, json=NATIVE.body(one))
            by_index = dict(NATIVE.read(reply.raise_for_status().json()))
            logits = tuple(by_index[index] for index in range(len(one.documents)))
            found.append(replace(one, logits=logits))
    return found


async def traffic(world: World, seconds: float) -> None:
    """Let all clients do what they do for some time, and wait until the last has ended."""
    world.ending.clear()
    users = [
        asyncio.create_task(client(world, random.Random(f"{world.seed} {client.__name__} {copy}")))
        for client, copies in TRAFFIC.items()
        for copy in range(copies)
    ]
    ender = asyncio.get_running_loop().call_later(seconds, world.ending.set)
    try:
        await asyncio.gather(*users)
    finally:
        ender.cancel()
        for user in users:
            user.cancel()


async def soaked(world: World, server: SoakedServer, minutes: float) -> dict[str, Any]:
    """Warm up, measure, soak, calm down and measure again."""
    world.small = await referenced(world, questions(world.seed, 60, 8))
    world.large = await referenced(world, questions(world.seed, 3, 1000))
    tally, world.tally = world.tally, Tally()
    await traffic(world, WARM_UP_SECONDS)
    await asyncio.sleep(SETTLING)
    before, logged = server.measured(), server.log.stat().st_size
    world.tally = tally
    health: dict[str, Any] = {}
    with watched(world.port, health):
        await traffic(world, minutes * 60)
    await asyncio.sleep(CALM)
    after = server.measured()
    return {"before": before, "after": after, "logged": logged, **health}


def soak(minutes: float, seed: int, folder: Path) -> SoakOutcome:
    """Run a whole soak."""
    tally = Tally()
    with listening(SlowHub(random.Random(f"{seed} hub"))) as hub:
        server = SoakedServer(folder, hub)
        try:
            world = World(
                port=server.port(),
                key=SOAK_KEY,
                seed=seed,
                tally=tally,
                small=(),
                large=(),
                ending=asyncio.Event(),
            )
            os.nice(NICE)
            found = asyncio.run(soaked(world, server, minutes))
        finally:
            stop_seconds = server.stop()
    log = server.log.read_text("utf-8")
    return SoakOutcome(
        seed=seed,
        minutes=minutes,
        tally=tally,
        health=found["seconds"],
        probe_lag=found["lag"],
        before=found["before"],
        after=found["after"],
        log_bytes=len(log) - found["logged"],
        tracebacks=log.count("Traceback") + log.count('"exception":'),
        exit_code=server.process.returncode,
        stop_seconds=stop_seconds,
    )


def main() -> int:
    """Soak, print and write the tables; return the exit code."""
    logging.disable()  # what clients and the Hub go through is counted, not logged
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder for soak.md, soak.json and the log")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = given.out or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as inner:
            outcome = soak(given.minutes, given.seed, Path(inner))
            (Path(inner) / "log").rename(folder / "server.log")
        (folder / "soak.md").write_text(outcome.as_markdown() + "\n", "utf-8")
        (folder / "soak.json").write_text(outcome.as_json() + "\n", "utf-8")
    print(outcome.as_markdown())
    broken = outcome.broken()
    for one in broken:
        print(f"BROKEN: {one}")
    for reason in [*outcome.tally.wrong[:5], *outcome.tally.lost[:15]]:
        print(f"  {reason}")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
