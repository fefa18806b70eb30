"""A built image as podman or docker runs it; RERANKD_IMAGE and RERANKD_CONTAINERS name both."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

IMAGE = os.environ.get("RERANKD_IMAGE", "localhost/rerankd")
TOOL = shlex.split(os.environ.get("RERANKD_CONTAINERS", "podman"))
PATIENCE = 60.0
DRAIN = 45
"""What docs/container.md gives a container to stop."""

CONFINED = (
    *("--network", "host", "--pull", "never", "--read-only", "--tmpfs", "/tmp"),  # noqa: S108
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
)


def call(*words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run the tool to its end; a wrong exit code is a failure with what it said."""
    done = subprocess.run(
        [*TOOL, *words], capture_output=True, check=False, text=True, timeout=2 * PATIENCE
    )
    assert code is None or done.returncode == code, f"{words}: {done.stdout}\n{done.stderr}"
    return done


def inspected(kind: str, name: str) -> Any:
    """Return what the tool knows of an image or a container."""
    (only,) = json.loads(call(kind, "inspect", name).stdout)
    return only


def own_check() -> list[str]:
    """Return the command of the image's health check; podman before 5 has it at the top."""
    image = inspected("image", IMAGE)
    check = image["Config"].get("Healthcheck") or image["Healthcheck"]
    kind, *words = check["Test"]
    assert kind == "CMD"
    return [str(word) for word in words]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def volume() -> Iterator[str]:
    """A volume that is there for a test."""
    name = f"rerankd-test-{uuid4().hex[:12]}"
    call("volume", "create", name)
    try:
        yield name
    finally:
        call("volume", "rm", "--force", name)


@dataclass(frozen=True)
class Served:
    """A container that serves, and a client with a key of it."""

    name: str
    client: httpx.Client

    def run(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command in the container."""
        return call("exec", self.name, *words, code=code)

    def healthy(self) -> bool:
        """Tell whether the image's own check passes now."""
        words = own_check()
        return self.run(*words, code=None).returncode == 0

    def until_healthy(self) -> None:
        """Ask the image's own check again and again; it takes a while by itself."""
        for _ in range(200):
            if self.healthy():
                return
        raise AssertionError(call("logs", self.name).stderr)


@contextmanager
def serving(state: str, models: str, key: str, *options: str) -> Iterator[Served]:
    """Serve as docs/container.md does, on a free port of the loopback."""
    port, name = free_port(), f"rerankd-test-{uuid4().hex[:12]}"
    mounts = ("-v", f"{state}:/var/lib/rerankd", "-v", f"{models}:/var/cache/rerankd")
    there = ("-e", f"RERANKD_PORT={port}", "-e", f"RERANKD_URL=http://127.0.0.1:{port}")
    call("run", "-d", "--name", name, *CONFINED, *mounts, *there, *options, IMAGE)
    headers = {"Authorization": f"Bearer {key}"}
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE) as client:
            served = Served(name, client)
            served.until_healthy()
            yield served
    finally:
        call("rm", "--force", name)


def new_key(state: str, scopes: Sequence[str] = ("inference", "manage")) -> str:
    """Make a key in a state volume, with the image's own command."""
    wanted = [word for scope in scopes for word in ("--scope", scope)]
    mount = ("-v", f"{state}:/var/lib/rerankd")
    return call(
        "run", "--rm", *CONFINED, *mount, IMAGE, "keys", "create", "me", *wanted
    ).stdout.strip()
