"""The real client libraries against a running server; `just test-clients` installs and runs them.

The suite doesn't collect it, because the clients and what they need take a gigabyte. Each client
runs in a process of its own, in the environment that has it (table.py says which).
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.client_environments import ENVIRONMENTS, KEY, MODEL, PATIENCE, environ
from support.clients_table import CLIENTS, GAPS, RETRYING, Client

HERE = Path(__file__).parent
PLACES = [1, 2, 0]
"""The documents of the probes, best first."""

PANDA = "The giant panda is a bear that lives in the mountains of China and eats bamboo."


@pytest.fixture
def answers(client: Client, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a client made of the server's four answers."""
    if request.function.__name__ in GAPS.get((client.environment, client.name), ()):
        request.applymarker(pytest.mark.xfail(reason="docs/clients.md tells of it"))
    url = request.getfixturevalue("keyed" if client.refused else "keyless")
    together = tuple(
        other.function
        for other in CLIENTS
        if (other.environment, other.module, bool(other.refused))
        == (client.environment, client.module, bool(client.refused))
    )
    cases = ("all", "best", "wrong_key", "wrong_model")
    return run(client.environment, client.module, together, url, cases)[client.function]


@functools.cache
def run(
    environment: str, module: str, names: tuple[str, ...], url: str, cases: tuple[str, ...]
) -> dict[str, Any]:
    """Run a module's probes in one process of their environment and return what it printed."""
    given = {"url": url, "key": KEY, "model": MODEL, "cases": cases}
    done = subprocess.run(
        [*command(environment, module), *names],
        env=environ() | {"RERANKD_PROBE": json.dumps(given)},
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


def command(environment: str, module: str) -> list[str]:
    """Return the command that runs probes of a module."""
    if environment == "javascript":
        if not shutil.which("node"):
            pytest.skip("there is no Node.js")
        # Node looks for packages beside the script.
        return ["node", str(ENVIRONMENTS / environment / "probe.mjs")]
    python = ENVIRONMENTS / environment / "bin" / "python"
    return [str(python), "-W", "ignore", "probe.py", module]


def identify(client: Client) -> str:
    """Return a client's name in the report."""
    return f"{client.environment}-{client.name}"


every_client = pytest.mark.parametrize("client", CLIENTS, ids=identify)


@every_client
def test_every_document_comes_back_best_first(client: Client, answers: dict[str, Any]) -> None:
    """All documents come back, best first, with scores between 0 and 1."""
    rows = rows_of(answers["all"])

    assert [row["index"] for row in rows] == PLACES
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    if client.logits:
        assert scores[0] > 0 > scores[-1]
    else:
        assert 1 > scores[0] > 0.5 > scores[-1] > 0


@every_client
def test_gives_the_best_only(client: Client, answers: dict[str, Any]) -> None:
    """A limit of two gives the two best, with the texts where the client shows them."""
    rows = rows_of(answers["best"])

    assert [row["index"] for row in rows] == (PLACES[:2] if client.limit else PLACES)
    assert rows[0]["text"] == (PANDA if client.text else None)


@every_client
def test_refuses_a_wrong_key(client: Client, answers: dict[str, Any]) -> None:
    """A wrong key is the client's own error for it."""
    answer = answers["wrong_key"]

    if client.refused:
        assert client.refused in answer["error"], answer
    else:
        assert [row["index"] for row in rows_of(answer)] == PLACES


@every_client
def test_refuses_an_unknown_model(client: Client, answers: dict[str, Any]) -> None:
    """A model that isn't there is an error of the client, unless it names no model."""
    answer = answers["wrong_model"]

    if client.unknown:
        assert client.unknown in answer["error"], answer
    else:
        assert [row["index"] for row in rows_of(answer)] == PLACES


def rows_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows, or fail with the client's error."""
    assert "rows" in answer, answer
    rows: list[dict[str, Any]] = answer["rows"]
    return rows


@pytest.mark.parametrize("client", RETRYING, ids=identify)
def test_tries_again_when_told_to_wait(client: Client, keyed: str) -> None:
    """A 429 with Retry-After is waited for, and the next try is answered."""
    name = client.function
    with busy_once(keyed) as (url, refused):
        answer = run(client.environment, client.module, (name,), url, ("all",))[name]["all"]

    assert [row["index"] for row in rows_of(answer)] == PLACES
    assert refused


@contextmanager
def busy_once(url: str) -> Iterator[tuple[str, list[str]]]:
    """Yield a server's other address, where its first answer is that it is busy."""
    refused: list[str] = []

    class Relay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if refused:
                return self._give(*_post(url + self.path, body))
            refused.append(self.path)
            error = {"message": "busy", "type": "unavailable_error", "code": "queue_full"}
            busy = {"message": "busy", "detail": "busy", "error": error | {"param": None}}
            return self._give(429, json.dumps(busy).encode())

        def _give(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status == 429:
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Relay) as relay:
        thread = threading.Thread(target=relay.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{relay.server_port}", refused
        finally:
            relay.shutdown()
            thread.join()


def _post(url: str, body: bytes) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    sent = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(sent, timeout=PATIENCE) as reply:
        return reply.status, reply.read()
