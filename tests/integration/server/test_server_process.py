"""`rerankd serve` as a process: start, signals, exit codes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from rerankd.cli.serve import listen

from support.hub_standin import HubStandin, listening
from support.places import ROOT
from support.process import PATIENCE, Running, serving, until_busy


def test_server_starts_answers_and_ends_with_0() -> None:
    """One command serves; SIGTERM ends it with exit code 0."""
    with serving() as (running, client):
        assert client.get("/health/ready").status_code == 200
        running.process.send_signal(signal.SIGTERM)

        assert running.end() == 0


def test_sigterm_while_the_model_is_downloading_is_no_error(tmp_path: Path) -> None:
    """The download is given up, and the process ends as it does at other times."""
    hub = HubStandin()
    hub.files = {"owner/slow-GGUF:slow-Q8_0.gguf": bytes(1 << 20)}
    hub.piece, hub.stalls = 1 << 16, [1 << 19]
    with listening(hub) as address:
        environment = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path)}
        running = Running(["--model", "hf:owner/slow-GGUF:slow-Q8_0.gguf"], environment)
        try:
            url = running.until(r"listening on (http://\S+)")[1]
            running.until("slow-Q8_0 downloading")
            assert httpx.get(f"{url}/health", timeout=PATIENCE)
            running.process.send_signal(signal.SIGTERM)

            assert running.end() == 0
        finally:
            running.process.kill()
            hub.released.set()
    assert "Traceback" not in "".join(running.lines)


def test_a_server_goes_on_when_nobody_reads_its_log() -> None:
    """A pipe whose reader has gone takes no more lines; requests and the exit code don't suffer."""
    with serving() as (running, client):
        assert running.process.stderr
        running.process.stderr.close()
        for _ in range(3):
            asked = client.post("/v1/rerank", json={"query": "q", "documents": ["a"]})
            assert asked.status_code == 200
        running.process.send_signal(signal.SIGTERM)

        assert running.process.wait(PATIENCE) == 0


def test_running_requests_finish_after_sigterm() -> None:
    """What runs when the signal comes is answered in full; then the process ends with 0."""
    documents = [f"document {number} about pandas and bears " * 5 for number in range(100)]
    with serving() as (running, client), ThreadPoolExecutor(1) as pool:
        body = {"query": "panda", "documents": documents}
        answer = pool.submit(client.post, "/v1/rerank", json=body)
        until_busy(client)
        running.process.send_signal(signal.SIGTERM)

        assert answer.result(PATIENCE).status_code == 200
        assert len(answer.result().json()["results"]) == 100
        assert running.end() == 0


def test_requests_over_the_drain_limit_are_ended() -> None:
    """With no time to drain, a long request gets 503 and the process ends with 0."""
    documents = [f"document {number} about pandas and bears " * 20 for number in range(2000)]
    with serving("--drain-timeout", "0") as (running, client), ThreadPoolExecutor(1) as pool:
        body = {"query": "panda", "documents": documents}
        answer = pool.submit(client.post, "/v1/rerank", json=body)
        until_busy(client)
        running.process.send_signal(signal.SIGTERM)

        assert running.end() == 0
        assert answer.result(PATIENCE).status_code == 503
        assert answer.result().json()["error"]["code"] == "shutting_down"


def test_second_signal_ends_at_once() -> None:
    """A second Ctrl-C doesn't wait for running requests."""
    documents = [f"document {number} about pandas and bears " * 20 for number in range(2000)]
    with serving() as (running, client), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, "/v1/rerank", json={"query": "q", "documents": documents})
        until_busy(client)
        running.process.send_signal(signal.SIGINT)
        running.until("stopping")
        running.process.send_signal(signal.SIGINT)

        assert running.end() == 0
        assert answer.result(PATIENCE).status_code == 503


def test_keys_come_from_the_environment_and_are_not_logged() -> None:
    """RERANKD_API_KEYS closes the API and shows up nowhere."""
    with serving(RERANKD_API_KEYS="very-secret,other") as (running, client):
        refused = client.get("/v1/models")
        allowed = client.get("/v1/models", headers={"Authorization": "Bearer very-secret"})
        running.process.send_signal(signal.SIGTERM)
        running.end()

    assert (refused.status_code, allowed.status_code) == (401, 200)
    assert "very-secret" not in "".join(running.lines)


def _bad_files(folder: Path) -> dict[str, tuple[str, str]]:
    """Return arguments and the words that their error must have."""
    whole = (ROOT / "models" / "rerank-mini-en-q8_0.gguf").read_bytes()
    (folder / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    (folder / "header.gguf").write_bytes(whole[:5000])
    (folder / "text.gguf").write_text("hello")
    (folder / "empty.gguf").write_bytes(b"")
    return {
        "missing.gguf": ("no such file", "path"),
        "cut.gguf": ("truncated", "download"),
        "header.gguf": ("header", "download"),
        "text.gguf": ("not a GGUF file", "GGUF"),
        "empty.gguf": ("not a GGUF file", "GGUF"),
    }


def _one_line_error(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "rerankd", "serve", "--port", "0", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_bad_model_files_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """A file that can't be served says what is wrong and what to do, without a traceback."""
    for name, words in _bad_files(tmp_path).items():
        line = _one_line_error("--model", str(tmp_path / name))

        assert all(word in line for word in (name, *words))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "RERANKD_API_KEYS"),
        (("--gpu-layers", "all"), "GGML_CUDA"),
        (("--context", "9999"), "512"),
        (("--model", "hf:nonsense"), "hf:owner/repo:file.gguf"),
        (("--config", "/nonexistent.toml"), "/nonexistent.toml"),
    ],
)
def test_bad_settings_are_one_line_and_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    """A setting that can't be is told before anything listens."""
    assert words in _one_line_error(*arguments)


def test_taken_port_is_one_line_and_exit_code_2() -> None:
    """A port that something else holds is told in one line."""
    with serving() as (_, client):
        port = str(client.base_url.port)

        assert port in _one_line_error("--port", port)


def test_listener_says_that_it_is_tcp() -> None:
    """Accepted connections inherit the protocol, by which asyncio turns Nagle's delay off."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
