"""Times a server from its start to its first answer, for the scripts that measure installations."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from support.binary_file import DOCUMENTS, PATIENCE, QUERY

BETWEEN = 0.005
"""Seconds between two questions, and so the figures' grain."""
BODY = json.dumps({"query": QUERY, "documents": DOCUMENTS}).encode()


def first_answer(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Start a server; return the seconds to its first answer and its megabytes after it.

    Exits where the server does, or where it takes longer than PATIENCE.
    """
    port = _free_port()
    command = [*command, "--port", str(port)]
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        while not _answered(port):
            if process.poll() is not None or time.monotonic() - began > PATIENCE:
                sys.exit(f"error: no answer from {command[0]}")
            time.sleep(BETWEEN)
        took = time.monotonic() - began
        pages = int(Path(f"/proc/{process.pid}/statm").read_text("ascii").split()[1])
        return took, pages * os.sysconf("SC_PAGESIZE") / 1e6
    finally:
        process.terminate()
        process.wait(PATIENCE)


def summary(values: Sequence[float]) -> list[float]:
    """Return median, least and most."""
    return [round(one, 3) for one in (statistics.median(values), min(values), max(values))]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _answered(port: int) -> bool:
    address = f"http://127.0.0.1:{port}/v1/rerank"
    request = urllib.request.Request(address, BODY, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return bool(json.load(answer)["results"])
    except (urllib.error.URLError, ConnectionError):
        return False  # not listening yet, or loading
