"""The single binary as tests start it: `dist/rerankd`, with a home and an unpacking of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from support.places import ROOT

FILE = ROOT / "dist" / "rerankd"
PATIENCE = 60.0

QUERY = "What is a panda?"
DOCUMENTS = (
    "hi",
    "it is a bear",
    (
        "The giant panda (Ailuropoda melanoleuca), sometimes called a panda bear or simply panda, "
        "is a bear species endemic to China."
    ),
)
SCORES = (0.0043, 0.512, 0.972)
"""The README's."""


class Binary:
    """Runs the file with nothing of this machine's environment but what a test gives."""

    def __init__(self, home: Path, unpacked: Path, file: Path = FILE) -> None:
        self.file = file
        self.home = home
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "RERANKD_UNPACK_DIR": str(unpacked),
            "RERANKD_LOG_FORMAT": "human",
        }

    def run(self, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `environment` adds variables, `input` is its standard input."""
        environment = {**self.environment, **options.pop("environment", {})}
        return subprocess.run(
            [self.file, *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            **options,
        )

    def output(self, *words: str | Path, **options: Any) -> str:
        """Run a command that must end with 0; return its standard output."""
        done = self.run(*words, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def lines(self, *words: str | Path, **options: Any) -> list[dict[str, Any]]:
        """Run a command that must end with 0; return the JSONL that it printed."""
        return [json.loads(line) for line in self.output(*words, **options).splitlines()]

    @contextmanager
    def serving(self, *words: str, **environment: str) -> Iterator[Server]:
        """Run a server on a free port until it is ready, then end it."""
        command = [str(self.file), "serve", "--port", "0", *words]
        with serving(command, {**self.environment, **environment}) as server:
            yield server


class Server:
    """A server process, the lines of its log so far, and a client of it."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.log: list[str] = []
        self.client = httpx.Client(timeout=PATIENCE)

    def until(self, pattern: str) -> re.Match[str]:
        """Read the log until a line matches; the process ending first is a failure."""
        assert self.process.stderr
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"no {pattern!r} in:\n{''.join(self.log)}")

    @property
    def url(self) -> str:
        return str(self.client.base_url)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal to the one process, read its log to the end; return its exit code."""
        self.process.send_signal(number)
        self.log += self.process.communicate(timeout=PATIENCE)[1].splitlines(keepends=True)
        return self.process.returncode

    def status(self, name: str) -> str:
        """Return a line of the kernel's account of the process, e.g. `Name` or `VmRSS`."""
        said = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        found = re.search(rf"^{name}:\s*(.*)$", said, re.MULTILINE)
        assert found
        return found[1]

    def panda(self) -> dict[str, Any]:
        """Ask the README's question; return the answer."""
        body = {"model": "rerank-mini-en", "query": QUERY, "top_n": 3, "documents": DOCUMENTS}
        answer = self.client.post("/v1/rerank", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@contextmanager
def serving(command: Sequence[str], environment: dict[str, str]) -> Iterator[Server]:
    """Run a server's command until it is ready; yield it, and see to its end."""
    server = Server(command, environment)
    watchdog = threading.Timer(PATIENCE, server.process.kill)
    watchdog.start()
    try:
        server.client.base_url = httpx.URL(server.until(r"listening on (http://[\w.:]+)")[1])
        server.until(r"rerank-mini-en ready: ")
        yield server
    finally:
        watchdog.cancel()
        server.client.close()
        server.process.kill()
        server.process.communicate()


def require_panda(answer: dict[str, Any], tolerance: float = 0.03) -> None:
    """Hold an answer to the README's order and scores."""
    scores = {one["index"]: one["relevance_score"] for one in answer["results"]}
    assert list(scores) == [2, 1, 0]
    assert all(abs(scores[at] - score) < tolerance for at, score in enumerate(SCORES)), scores
