"""`rerankd serve` as a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

from support.places import ROOT

PATIENCE = 30.0


class Running:
    """A server process and the lines of its log."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rerankd", "serve", "--port", "0", *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "RERANKD_STATE_DIR": os.devnull + "/none",
                "RERANKD_LOG_FORMAT": "human",
                **environment,
            },
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def until(self, pattern: str) -> re.Match[str]:
        """Read the log until a line matches; the process ending first is a failure."""
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"no {pattern!r} in:\n{''.join(self.lines)}")

    def end(self) -> int:
        """Wait for the process to end by itself; return its exit code."""
        rest = self.process.communicate(timeout=PATIENCE)[1]
        self.lines += rest.splitlines(keepends=True)
        return self.process.returncode


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[tuple[Running, httpx.Client]]:
    """Run a server on a free port until it is ready; yield it and a client of it."""
    running = Running(arguments, environment)
    watchdog = threading.Timer(PATIENCE, running.process.kill)
    watchdog.start()
    try:
        url = running.until(r"listening on (http://\S+)")[1]
        running.until(r"rerank-mini-en ready: ")
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            yield running, client
    finally:
        watchdog.cancel()
        running.process.kill()
        running.process.communicate()


def until_busy(client: httpx.Client) -> None:
    for _ in range(10_000):
        if client.get("/v1/models").json()["data"][0]["load"]["requests"]:
            return
    raise AssertionError("the request never arrived")
