"""Deployments through the API and the command line, on real servers."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from rerankd import cli

from support.fakes import PATIENCE
from support.hub_standin import HubStandin, listening
from support.process import serving
from support.serving import MODELS, FakeEngine, client_of, rerank, server_of, service_of
from support.tiny_models import write_qwen3

DOCUMENTS = ["yes no", "no", "panda"]


UNPROVEN = ("--accept-unproven",)
"""For deployments of random weights, which rank nothing."""


def command(client: httpx.Client, *arguments: str) -> Result:
    """Run a command against a server."""
    return CliRunner().invoke(cli.main, [*arguments, "--url", str(client.base_url)])


def states(client: httpx.Client) -> dict[str, str]:
    """Return the states of what was deployed, by the command line."""
    lines = map(json.loads, command(client, "ps").stdout.splitlines())
    # An embedded model that no request has needed yet is listed, too.
    return {line["id"]: line["state"] for line in lines if line["state"] != "absent"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small causal reranker's file."""
    path = tmp_path_factory.mktemp("models") / "tiny-qwen3-reranker.gguf"
    write_qwen3(path, head="own")
    return path


def test_the_whole_story_over_a_restart(tiny: Path, tmp_path: Path) -> None:
    """Deploy, rank, be killed, start again, rank the same, stop, stay stopped."""
    state = str(tmp_path / "state")
    with serving(RERANKD_STATE_DIR=state) as (running, client):
        deployed = command(
            client, "deploy", str(tiny), "--id", "tiny", "--option", "context=128", *UNPROVEN
        )
        assert deployed.exit_code == 0, deployed.output
        assert json.loads(deployed.stdout)["facts"]["context"] == 128
        first = rerank(client, model="tiny", query="panda", documents=DOCUMENTS).json()["results"]
        running.process.send_signal(signal.SIGKILL)
        running.process.wait(PATIENCE)
    with serving(RERANKD_STATE_DIR=state) as (running, client):
        if not any("tiny ready" in line for line in running.lines):
            running.until("tiny ready")
        assert states(client) == {"rerank-mini-en": "ready", "tiny": "ready"}
        again = rerank(client, model="tiny", query="panda", documents=DOCUMENTS).json()["results"]
        assert command(client, "stop", "tiny").exit_code == 0
        gone = rerank(client, model="tiny", query="panda", documents=DOCUMENTS)
        running.process.send_signal(signal.SIGTERM)
        assert running.end() == 0
    with serving(RERANKD_STATE_DIR=state) as (_, client):
        assert states(client) == {"rerank-mini-en": "ready"}

    assert [row["relevance_score"] for row in first] == [row["relevance_score"] for row in again]
    assert gone.status_code == 404


def test_a_model_from_the_hub_over_cuts_kills_and_restarts(tiny: Path, tmp_path: Path) -> None:
    """Pull over a cut connection, deploy, rank, be killed while loading, start, rank, stop."""
    hub = HubStandin()
    hub.files = {"owner/tiny-GGUF:tiny-qwen3-reranker-Q8_0.gguf": tiny.read_bytes()}
    hub.cuts = [1000]
    reference = "hf:owner/tiny-GGUF:tiny-qwen3-reranker-Q8_0.gguf"
    with listening(hub) as address:
        environment = {
            "RERANKD_STATE_DIR": str(tmp_path / "state"),
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": address,
        }
        with serving(**environment) as (running, client):
            deployed = command(client, "deploy", reference, "--id", "tiny", *UNPROVEN)
            assert deployed.exit_code == 0, deployed.output
            first = rerank(client, model="tiny", query="panda", documents=DOCUMENTS).json()
            sent = hub.sent
            assert command(client, "stop", "tiny").exit_code == 0
            client.post(
                "/v1/deployments",
                json={"model": reference, "id": "tiny", "options": {"accept_unproven": True}},
            )
            running.until("tiny (verifying|loading)")
            running.process.send_signal(signal.SIGKILL)
            running.process.wait(PATIENCE)
    with serving(**environment, HF_HUB_OFFLINE="1") as (running, client):
        if not any("tiny ready" in line for line in running.lines):
            running.until("tiny ready")
        again = rerank(client, model="tiny", query="panda", documents=DOCUMENTS).json()
        assert command(client, "stop", "tiny").exit_code == 0
        assert states(client) == {"rerank-mini-en": "ready"}

    assert sent == len(tiny.read_bytes()) + 1000  # the cut piece was smaller than a chunk
    assert first["results"] == again["results"]


def test_a_state_folder_that_takes_nothing_stops_no_model(tiny: Path) -> None:
    """Where nothing can be kept, a new file is tried and served, and a deployment is refused."""
    with serving(
        RERANKD_STATE_DIR="/dev/null/none",
        RERANKD_MODEL_ID="rerank-mini-en",
        RERANKD_MODEL=str(tiny),
        RERANKD_ACCEPT_UNPROVEN="true",
    ) as (running, client):
        answer = rerank(client, query="panda", documents=DOCUMENTS)
        refused = command(client, "deploy", str(tiny), "--id", "more")

    assert answer.status_code == 200
    assert any("will be checked again at the next start" in line for line in running.lines)
    assert refused.exit_code == 2
    assert "cannot use the state" in refused.stderr


def test_a_file_that_fails_never_takes_the_server_down(tiny: Path, tmp_path: Path) -> None:
    """Cut short and damaged files end as failed deployments with the reason; others go on."""
    whole = tiny.read_bytes()
    bad = {"cut": whole[: len(whole) // 2], "text": b"hello", "zeros": b"GGUF" + bytes(5000)}
    with serving(RERANKD_STATE_DIR=str(tmp_path / "state")) as (_, client):
        for name, content in bad.items():
            path = tmp_path / f"{name}.gguf"
            path.write_bytes(content)
            failed = command(client, "deploy", str(path))
            assert failed.exit_code == 1
            assert json.loads(failed.stdout)["state"] == "failed"
            assert str(path) in json.loads(failed.stdout)["message"]
            refused = rerank(client, model=name, query="q", documents=["a"])
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_failed")
        assert rerank(client, query="q", documents=["a"]).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "model"),
        ({"model": ""}, 400, "model"),
        ({"model": 1}, 400, "model"),
        ({"model": "rerank-mini-en", "typo": 1}, 400, None),
        ({"model": "rerank-mini-en", "id": "a/b"}, 400, "id"),
        ({"model": "rerank-mini-en", "options": {"port": 1}}, 422, "port"),
        ({"model": "rerank-mini-en", "options": {"workers": -1}}, 422, "workers"),
        ({"model": "rerank-mini-en", "options": {"workers": 100_000}}, 422, "workers"),
        ({"model": "rerank-mini-en"}, 409, "id"),
        ({"model": "hf:nonsense"}, 400, "model"),
        ({"model": "0" * 1000}, 400, "id"),
        ({"model": "~nobody-here/x.gguf"}, 422, None),
        ({"model": "bge-reranker-v2-m3:Q1_X"}, 404, "model"),
    ],
)
def test_bad_deployments_are_refused_before_anything_begins(
    body: dict[str, Any], status: int, param: str | None
) -> None:
    """Each fault has its status and the field it is in, and the list stays as it was."""
    with server_of(service_of()) as url, httpx.Client(base_url=url, timeout=PATIENCE) as client:
        response = client.post("/v1/deployments", json=body)
        listed = client.get("/v1/deployments").json()["data"]

    assert (response.status_code, response.json()["error"]["param"]) == (status, param)
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert [one["id"] for one in listed] == ["rerank-mini-en"]


MANAGING = [
    ("GET", "/v1/deployments"),
    ("POST", "/v1/deployments"),
    ("GET", "/v1/deployments/rerank-mini-en"),
    ("DELETE", "/v1/deployments/rerank-mini-en"),
    ("POST", "/v1/deployments/rerank-mini-en/restart"),
    ("GET", "/v1/deployments/events"),
]


@pytest.mark.parametrize(("method", "path"), MANAGING)
def test_without_keys_only_this_machine_manages(method: str, path: str) -> None:
    """A caller that is not on loopback is refused while no API key is set."""
    with client_of(service_of()) as client:  # its address is not a loopback one
        response = client.request(method, path)

    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(("method", "path"), MANAGING)
def test_with_keys_managing_needs_one(method: str, path: str) -> None:
    """No key, no look."""
    with client_of(service_of(api_keys=("k",))) as client:
        assert client.request(method, path).status_code == 401


def test_other_sites_pages_may_not_manage() -> None:
    """A browser that shows another site's page is refused, its own page is not."""
    with server_of(service_of()) as url, httpx.Client(base_url=url, timeout=PATIENCE) as client:
        foreign = client.get("/v1/deployments", headers={"Origin": "https://example.org"})
        own = client.get("/v1/deployments", headers={"Origin": url})
        rebound = client.get(
            "/v1/deployments", headers={"Host": "example.org", "Origin": "http://example.org"}
        )
        local = client.get("/v1/deployments", headers={"Host": "localhost:8100"})
        broken = client.get("/v1/deployments", headers={"Host": "[::1"})

    assert [403, 200] == [foreign.status_code, own.status_code]
    assert [403, 200, 403] == [rebound.status_code, local.status_code, broken.status_code]


def test_events_tell_every_change() -> None:
    """The stream begins with what is there and goes on with what changes."""
    with (
        server_of(service_of(FakeEngine())) as url,
        httpx.Client(base_url=url, timeout=PATIENCE) as client,
        client.stream("GET", "/v1/deployments/events") as stream,
    ):
        lines = (line for line in stream.iter_lines() if line.startswith("data:"))
        first = json.loads(next(lines).removeprefix("data:"))
        client.delete("/v1/deployments/rerank-mini-en")
        second = json.loads(next(lines).removeprefix("data:"))

    assert stream.headers["content-type"].startswith("text/event-stream")
    assert (first["state"], second["state"]) == ("ready", "draining")


def test_a_server_without_its_default_model_goes_on() -> None:
    """When the default one is stopped, nothing is ready and requests without a name get 404."""
    with server_of(service_of()) as url, httpx.Client(base_url=url, timeout=PATIENCE) as client:
        assert command(client, "stop", "rerank-mini-en").exit_code == 0
        ready = client.get("/health/ready")
        refused = rerank(client, query="q", documents=["a"])
        client.post("/v1/deployments", json={"model": "rerank-mini-en", "id": "again"})
        with client.stream("GET", "/v1/deployments/events") as events:
            next(line for line in events.iter_lines() if '"state":"ready"' in line)
        again = rerank(client, query="q", documents=["a"])
        ready_again = client.get("/health/ready")

    assert (ready.status_code, refused.status_code) == (503, 404)
    assert (again.status_code, again.json()["model"]) == (200, "again")
    assert ready_again.status_code == 200


def test_the_catalog_tells_what_runs() -> None:
    """Where a server is asked, each model has its deployment's state."""
    with server_of(service_of()) as url, httpx.Client(base_url=url, timeout=PATIENCE) as client:
        listed = client.get("/v1/catalog").json()["data"]
        lines = command(client, "models", "--catalog-dir", str(MODELS)).stdout.splitlines()
    alone = CliRunner().invoke(cli.main, ["models"]).stdout.splitlines()

    def running(found: list[dict[str, Any]]) -> dict[str, str]:
        return {one["id"]: one["state"] for one in found if one["state"]}

    assert running(listed) == {"cross-mini-en": "ready"}
    assert running(list(map(json.loads, lines))) == {"cross-mini-en": "ready"}
    assert running(list(map(json.loads, alone))) == {}


def test_commands_tell_what_the_server_said() -> None:
    """Refusals and silence are one line and exit code 2."""
    silent = CliRunner().invoke(cli.main, ["ps", "--url", "http://127.0.0.1:9"])
    with server_of(service_of(api_keys=("k",))) as url:
        keyless = CliRunner().invoke(cli.main, ["ps", "--url", url])
        unknown = CliRunner().invoke(cli.main, ["stop", "x", "--url", url, "--api-key", "k"])
    odd = CliRunner().invoke(cli.main, ["deploy", "x", "--option", "port=1"])

    assert [2, 2, 2, 2] == [done.exit_code for done in (silent, keyless, unknown, odd)]
    assert "no response from http://127.0.0.1:9: Connection refused; start" in silent.stderr
    assert "`rerankd serve`" in silent.stderr
    assert len(silent.stderr.splitlines()) == 1
    assert "401: an API key is required" in keyless.stderr
    assert "404: no model 'x' here" in unknown.stderr
    assert "is not NAME=VALUE" in odd.stderr
