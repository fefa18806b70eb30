"""Other programs' rerank servers: started, awaited and stopped."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import MappingProxyType

import httpx

from rerankd.measuring.client import RerankServer

PATIENCE = 300
NOTHING: Mapping[str, str] = MappingProxyType({})


@contextmanager
def running(
    command: Sequence[str], port: int, environment: Mapping[str, str] = NOTHING
) -> Iterator[RerankServer]:
    """Start a server, with more in its environment, wait until it ranks, and stop it."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environment}
        )
        try:
            url = f"http://127.0.0.1:{port}"
            await_answer(process, url)
            yield RerankServer(url=url, pid=process.pid)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def await_answer(process: subprocess.Popen[bytes], url: str) -> None:
    """Ask until the server ranks, or has ended: it is a stranger, nothing else tells."""
    end = time.monotonic() + PATIENCE
    body = {"query": "ready", "documents": ["yes"]}
    while time.monotonic() < end:
        with suppress(httpx.HTTPError):
            if httpx.post(f"{url}/v1/rerank", json=body, timeout=PATIENCE).is_success:
                if process.poll() is not None:
                    break  # a stranger answered at this address
                return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
            break
    raise SystemExit(f"{process.args!r} did not answer")


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
