"""Measures the single binary: size, start to first answer, idle memory. `just measure-binary`.

Cold is a first start, which unpacks; files that were read before are in the page cache either way.
Prints JSON, medians over some starts with their range.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from support.binary_file import DOCUMENTS, FILE, PATIENCE, QUERY
from support.places import SOURCE, files_in

STARTS = 7
BETWEEN = 0.005
"""Seconds between two questions, and so the figures' grain."""
BODY = json.dumps({"query": QUERY, "documents": DOCUMENTS}).encode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def first_answer(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Start a server; return the seconds to its first answer and its megabytes after it."""
    port = free_port()
    command = [*command, "--port", str(port)]
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        while not answered(port):
            if process.poll() is not None or time.monotonic() - began > PATIENCE:
                sys.exit(f"error: no answer from {command[0]}")
            time.sleep(BETWEEN)
        took = time.monotonic() - began
        pages = int(Path(f"/proc/{process.pid}/statm").read_text("ascii").split()[1])
        return took, pages * os.sysconf("SC_PAGESIZE") / 1e6
    finally:
        process.terminate()
        process.wait(PATIENCE)


def answered(port: int) -> bool:
    address = f"http://127.0.0.1:{port}/v1/rerank"
    request = urllib.request.Request(address, BODY, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return bool(json.load(answer)["results"])
    except (urllib.error.URLError, ConnectionError):
        return False  # not listening yet, or loading


def summary(values: list[float]) -> list[float]:
    """Return median, least and most."""
    return [round(one, 3) for one in (statistics.median(values), min(values), max(values))]


def measured(place: Path) -> dict[str, Any]:
    """Start the binary cold and warm and this checkout's installation, in turn."""
    serve = ["serve", "--state-dir", str(place / "state")]
    binary = {"HOME": str(place), "PATH": os.environ["PATH"]}
    unpacked = place / ".cache/rerankd"
    starts: dict[str, list[tuple[float, float]]] = {"cold": [], "warm": [], "installed": []}
    for _ in range(STARTS):
        shutil.rmtree(unpacked, ignore_errors=True)
        for name in ("cold", "warm"):
            starts[name].append(first_answer([str(FILE), *serve], binary))
        python = [sys.executable, "-m", "rerankd", *serve]
        starts["installed"].append(first_answer(python, {**binary, "PYTHONPATH": str(SOURCE)}))
    (program,) = unpacked.iterdir()
    found = files_in(program, "**/*")
    files = [path for path in found if path.is_file() and not path.is_symlink()]
    return {
        "megabytes": round(FILE.stat().st_size / 1e6, 1),
        "unpacked_megabytes": round(sum(path.stat().st_size for path in files) / 1e6, 1),
        "first_answer_seconds": {
            name: summary([s for s, _ in all_]) for name, all_ in starts.items()
        },
        "idle_megabytes": {name: summary([m for _, m in all_]) for name, all_ in starts.items()},
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(Path(folder)), indent=1))
