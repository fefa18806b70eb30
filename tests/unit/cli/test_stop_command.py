"""`rerankd stop` and `restart` on a server, and on its state while none runs."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result

from rerankd import cli
from rerankd.cli.remote import follow_status
from rerankd.deployments.trials import MOST_DEATHS
from rerankd.errors import ServerRefused
from rerankd.store import Spec, Store

from support.serving import server_of, service_of

DIGEST = b"d" * 16


@pytest.fixture
def nowhere() -> str:
    """Return a local URL where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.main, words)


def die_loading(store: Store, name: str, times: int) -> None:
    """Leave what so many processes leave that were killed while they loaded a model."""
    for _ in range(times):
        store.count_deaths()
        store.begin_trial(name, DIGEST)


def test_without_a_server_a_deployment_is_removed_from_the_state(
    tmp_path: Path, nowhere: str
) -> None:
    """The command says where, and that no server runs."""
    store = Store(tmp_path)
    for name in ("x", "y"):
        store.keep(Spec(id=name, source="s"), 1.0)
    done = run("stop", "x", "--url", nowhere, "--state-dir", str(tmp_path))

    assert (done.exit_code, done.stdout) == (0, "")
    assert "x removed from the state in" in done.stderr
    assert f"no server runs at {nowhere}" in done.stderr
    assert [one.id for one in store.deployments()] == ["y"]


def test_without_a_server_a_model_is_tried_again_at_the_next_start(
    tmp_path: Path, nowhere: str
) -> None:
    """Also before a start has counted the last death, and for a default model."""
    store = Store(tmp_path)
    store.keep(Spec(id="other", source="s"), 1.0)
    die_loading(store, "x", MOST_DEATHS)
    done = run("restart", "x", "other", "--url", nowhere, "--state-dir", str(tmp_path))
    store.count_deaths()

    assert done.exit_code == 0
    assert "x will be loaded at the next start" in done.stderr
    assert "other will be loaded at the next start" in done.stderr
    assert store.deaths("x", DIGEST) == MOST_DEATHS - 1


@pytest.mark.parametrize("command", ["stop", "restart"])
def test_what_the_state_does_not_have_is_an_error(
    command: str, tmp_path: Path, nowhere: str
) -> None:
    """One line that names both places; no state file is made."""
    done = run(command, "x", "--url", nowhere, "--state-dir", str(tmp_path))

    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    for word in (nowhere, str(tmp_path), "'x'", "--state-dir"):
        assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_server_elsewhere_is_never_taken_for_the_state_here(tmp_path: Path) -> None:
    """Its deployments are not in this machine's folder."""
    store = Store(tmp_path)
    store.keep(Spec(id="x", source="s"), 1.0)
    done = run("stop", "x", "--url", "http://server.invalid:1", "--state-dir", str(tmp_path))

    assert done.exit_code == 2
    assert "no response from" in done.stderr
    assert [one.id for one in store.deployments()] == ["x"]


def test_a_running_server_is_asked() -> None:
    """Its refusals are told; names are quoted in the path."""
    with server_of(service_of(start=False, model_id="events")) as url:
        busy = run("restart", "events", "--url", url)
        unknown = run("stop", "a/b?c", "--url", url)
        stopped = run("stop", "events", "--url", url)

    assert "409: 'events' is ready" in busy.stderr
    assert (unknown.exit_code, "404" in unknown.stderr) == (2, True)
    assert (stopped.exit_code, stopped.stderr.splitlines()[-1]) == (0, "events stopped")


def test_an_id_with_a_slash_is_stopped_like_any() -> None:
    with server_of(service_of(start=False, model_id="a/b?c")) as url:
        busy = run("restart", "a/b?c", "--url", url)
        stopped = run("stop", "a/b?c", "--url", url)

    assert "409: 'a/b?c' is ready" in busy.stderr
    assert (stopped.exit_code, stopped.stderr.splitlines()[-1]) == (0, "a/b?c stopped")


def test_a_server_that_goes_away_meanwhile_is_one_line() -> None:
    """A model that ends the server is an error that names it, with no traceback."""
    service = service_of()
    status = service.deployments.statuses[0]
    asyncio.run(service.close())
    loading = msgspec.structs.replace(status, state="loading")

    def cut() -> Iterator[bytes]:
        yield b"data: " + msgspec.json.encode(loading) + b"\n\n"
        raise httpx.RemoteProtocolError("cut")

    transport = httpx.MockTransport(lambda _request: httpx.Response(200, content=cut()))
    with (
        httpx.Client(base_url="http://127.0.0.1:1", transport=transport) as client,
        pytest.raises(
            ServerRefused, match=r"went away while rerank-mini-en was loading \(\w+\); see its log"
        ),
    ):
        follow_status(client, loading)


@pytest.mark.parametrize("flags", [[], ["--no-wait"]])
def test_restart_follows_a_model_until_it_is_ready(flags: list[str], tmp_path: Path) -> None:
    """It prints the status, and fails where the model fails again."""
    service = service_of(start=False)
    with server_of(service) as url:
        broken = str(tmp_path / "none.gguf")
        assert run("deploy", broken, "--id", "x", "--url", url).exit_code == 1
        done = run("restart", "x", "--url", url, *flags)

    status = json.loads(done.stdout)
    assert status["id"] == "x"
    assert done.exit_code == (0 if flags else 1)
    assert flags or status["state"] == "failed"
