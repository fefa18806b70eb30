"""Every command of the single binary, run for real; `just test-binary` runs this file."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rerankd import __version__
from rerankd.cli import COMMANDS

from support.binary_file import FILE, PATIENCE, QUERY, ROOT, Binary, require_panda
from support.hub_standin import HubStandin, listening
from support.tiny_models import write_qwen3

FACTS = "The giant panda is a bear species endemic to China."
JUDGED = {
    "id": "pandas",
    "query": QUERY,
    "documents": [{"text": "hello", "relevance": 0}, {"text": FACTS, "relevance": 2}],
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A small causal reranker that this machine has not seen."""
    return write_qwen3(tmp_path / "tiny-qwen3-reranker.gguf", head="own")


def test_version_is_this_one(binary: Binary) -> None:
    assert binary.output("--version") == f"rerankd, version {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_its_options(binary: Binary, command: str) -> None:
    """All that a command imports is inside."""
    assert f"Usage: rerankd {command} " in binary.output(command, "--help")


def test_serve_answers_and_ends_with_0(binary: Binary) -> None:
    """The embedded model, the console, the API page, the catalog and the metrics are inside."""
    with binary.serving() as server:
        require_panda(server.panda())
        pages = {
            path: server.client.get(path) for path in ("/", "/docs", "/v1/catalog", "/metrics")
        }
        assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(pages, 200)
        parts = re.findall(r'(?:src|href)="(/?[\w./-]+\.(?:js|css))"', pages["/"].text)
        assert parts
        assert all(server.client.get("/" + part.lstrip("/")).status_code == 200 for part in parts)
        assert "qwen3-reranker-0.6b" in pages["/v1/catalog"].text
        assert f'version="{__version__}"' in pages["/metrics"].text
        assert server.end() == 0


def test_the_server_is_one_process_under_its_own_name(binary: Binary) -> None:
    """Nothing of the start stays: signals and memory are the server's own."""
    with binary.serving() as server:
        pid = server.process.pid
        assert server.status("Name") == "rerankd"
        assert not Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
        assert int(server.status("VmRSS").split()[0]) < 150_000
        assert server.end(signal.SIGINT) == 0


def test_rank_gives_what_an_installation_gives(binary: Binary) -> None:
    """Lines from standard input, ranked by the embedded model."""
    found = binary.lines("rank", QUERY, input=f"hi\n{FACTS}\nit is a bear\n")

    assert [one["line"] for one in found] == [2, 3, 1]
    assert found[0]["relevance_score"] > 0.9


def test_a_new_file_is_tried_in_a_child_and_served(binary: Binary, tiny: Path) -> None:
    """The load check starts the binary again; deploy, ps and stop speak with the server."""
    with binary.serving() as server:
        (deployed,) = binary.lines(
            "deploy", tiny, "--id=tiny", "--accept-unproven", "--url", server.url
        )
        assert deployed["state"] == "ready"
        by_name = server.url.replace("127.0.0.1", "localhost")
        states = {one["id"]: one["state"] for one in binary.lines("ps", "--url", by_name)}
        assert (states["rerank-mini-en"], states["tiny"]) == ("ready", "ready")
        body = {"model": "tiny", "query": "a", "documents": ["b"]}
        assert server.client.post("/v1/rerank", json=body).status_code == 200
        binary.output("stop", "tiny", "--url", server.url)
        left = {one["id"] for one in binary.lines("ps", "--url", server.url)}
        assert "tiny" not in left


def test_a_file_that_is_cut_off_is_refused_in_one_line(binary: Binary, tiny: Path) -> None:
    tiny.write_bytes(tiny.read_bytes()[:-1000])
    with binary.serving() as server:
        done = binary.run("deploy", tiny, "--url", server.url)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr


def test_inspect_loads_and_devices_lists_the_cpu(binary: Binary, tiny: Path) -> None:
    found = json.loads(binary.output("inspect", "--load", "--json", "--accept-unproven", tiny))
    assert found["check"]["alone"] == pytest.approx(found["check"]["packed"], abs=0.5)
    build, *devices = binary.lines("devices")
    assert build["backends"] == ["CPU"]
    assert [device["name"] for device in devices] == ["CPU"]
    assert not binary.run("devices").stderr


def test_a_model_is_listed_pulled_and_removed(binary: Binary, tiny: Path) -> None:
    """The catalog is listed; a file comes from a Hub and goes again."""
    assert "rerank-mini-en" in [one["id"] for one in binary.lines("models", "list")]
    assert "Apache-2.0" in binary.output("models", "show", "rerank-mini-en")
    standin = HubStandin()
    standin.files["owner/tiny-GGUF:tiny.gguf"] = tiny.read_bytes()
    with listening(standin) as address:
        hub = {
            "HF_ENDPOINT": address,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(binary.home / "hub"),
        }
        name = "hf:owner/tiny-GGUF:tiny.gguf"
        path = Path(binary.output("pull", name, environment=hub).strip())
        assert path.read_bytes() == tiny.read_bytes()
        binary.output("rm", name, environment=hub)
        assert not path.exists()


def test_eval_measures_without_scipy(binary: Binary, tmp_path: Path) -> None:
    """trec_eval's code is inside, without SciPy."""
    judged = tmp_path / "judged.jsonl"
    judged.write_text(json.dumps(JUDGED) + "\n", "utf-8")
    report = tmp_path / "report.html"
    found = json.loads(binary.output("eval", judged, "--html", report))
    (model,) = found["contenders"]
    assert [quality["mean"] for quality in model["quality"]] == [1.0, 1.0, 1.0]
    assert "<svg" in report.read_text("utf-8")


def test_bench_measures_a_server(binary: Binary) -> None:
    with binary.serving() as server:
        found = binary.lines(
            *("bench", "--url", server.url, "--documents", "2", "--words", "5"),
            *("--requests", "2", "--rounds", "1", "--pid", str(server.process.pid)),
        )
        assert len(found) == 1


def test_keys_close_the_api(binary: Binary) -> None:
    """A key made by one process opens the server of another."""
    key = binary.output("keys", "create", "me").strip()
    binary.output("keys", "create", "another")
    with binary.serving() as server:
        assert server.client.get("/v1/models").status_code == 401
        bearer = {"Authorization": f"Bearer {key}"}
        assert server.client.get("/v1/models", headers=bearer).status_code == 200
        listed = {one["name"]: one["id"] for one in binary.lines("keys", "list")}
        binary.output("keys", "revoke", listed["me"])
        assert server.client.get("/v1/models", headers=bearer).status_code == 401


def test_config_prints_and_tune_measures(binary: Binary) -> None:
    assert "rerank-mini-en" in binary.output("config")
    assert binary.lines("tune", "--seconds", "1", "--dry-run")


def test_completion_completes(binary: Binary) -> None:
    """The script names the command; the words that it asks for come from the binary."""
    assert "_RERANKD_COMPLETE" in binary.output("completion", "bash")
    asked = {"_RERANKD_COMPLETE": "bash_complete", "COMP_WORDS": "rerankd ser", "COMP_CWORD": "1"}
    assert binary.output(environment=asked).split() == ["plain,serve", "plain,service"]


def test_the_service_starts_the_file_itself(binary: Binary, tmp_path: Path) -> None:
    """Not what it unpacked, which is another after an upgrade and may be a cleaner's prey."""
    assert f"\nExecStart={FILE} serve\n" in binary.output("service", "show")
    binary.output("service", "install", "--user", "--root", tmp_path / "root")
    (unit,) = (tmp_path / "root").rglob("rerankd.service")
    assert f"\nExecStart={FILE} serve\n" in unit.read_text("utf-8")


@pytest.fixture
def collector() -> Iterator[tuple[str, list[str]]]:
    """A collector of traces; yields its address and the paths that were posted to."""
    posted: list[str] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            posted.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", posted
        server.shutdown()
        thread.join(PATIENCE)


def test_traces_are_sent(binary: Binary, collector: tuple[str, list[str]]) -> None:
    """The extra `otel` is inside."""
    address, posted = collector
    with binary.serving(RERANKD_OTLP_ENDPOINT=address) as server:
        server.panda()
        assert server.end() == 0
    assert posted


def test_the_units_memory_rule_is_kept(binary: Binary) -> None:
    """No memory is writable and executable, which the unit asks of the kernel (since 6.3)."""
    refuse = "import ctypes, os, sys\n"
    refuse += "ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) and sys.exit(77)\n"  # PR_SET_MDWE
    refuse += "os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", refuse, FILE, "rank", QUERY],
        input=FACTS,
        env=binary.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("this kernel can't refuse it")
    assert json.loads(done.stdout)["relevance_score"] > 0.9


def test_other_programs_get_the_systems_libraries(binary: Binary, tmp_path: Path) -> None:
    """systemctl, which we call, must not be given our C library."""
    tools = tmp_path / "tools"
    tools.mkdir()
    said = tmp_path / "said"
    (tools / "systemctl").write_text(f'#!/bin/sh\necho "[$LD_LIBRARY_PATH]" "$@" >> {said}\n')
    (tools / "systemctl").chmod(0o755)
    path = {"PATH": f"{tools}:{binary.environment['PATH']}", "LD_LIBRARY_PATH": "/its/own"}
    binary.output("service", "install", "--user", "--now", environment=path)
    assert said.read_text().startswith("[/its/own] --user daemon-reload\n")


def test_nothing_of_the_checkout_is_needed(binary: Binary, tmp_path: Path) -> None:
    """A copy elsewhere, started through a link and from a folder with modules of the same names."""
    copy = tmp_path / "elsewhere"
    shutil.copy(FILE, copy)
    (tmp_path / "rerankd").symlink_to(copy)
    (tmp_path / "app.py").write_text("raise SystemExit('the wrong app')\n")
    started = Binary(tmp_path, Path(binary.environment["RERANKD_UNPACK_DIR"]), tmp_path / "rerankd")
    assert started.lines("rank", QUERY, input=FACTS, cwd=tmp_path)[0]["relevance_score"] > 0.9
    assert f"ExecStart={copy} serve\n" in started.output("service", "show")
    assert str(ROOT) not in started.output("service", "show")


def test_a_running_server_outlives_its_file(binary: Binary, tmp_path: Path) -> None:
    """An upgrade moves a new file over the old one; what runs goes on."""
    copy = tmp_path / "rerankd"
    shutil.copy(FILE, copy)
    started = Binary(tmp_path, Path(binary.environment["RERANKD_UNPACK_DIR"]), copy)
    with started.serving() as server:
        copy.unlink()
        require_panda(server.panda())
        assert server.end() == 0
