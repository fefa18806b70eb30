"""`rerankd stop` and `restart`: on a running server, or on its state while none runs.

A deployment that ends the server each time can only be removed from the state.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import click
import httpx
import msgspec

from rerankd.cli import options, output
from rerankd.cli.help import HelpPage
from rerankd.cli.remote import (
    ask_server,
    follow_status,
    print_statuses,
    server_client,
    with_server,
)
from rerankd.deployments import Status
from rerankd.deployments.trials import MOST_DEATHS
from rerankd.errors import ModelNotFound
from rerankd.settings import state_folder
from rerankd.store import Store

with_state = options.with_settings({"state_dir"})


@click.command(
    "stop",
    cls=HelpPage,
    examples=("rerankd stop bge-reranker-v2-m3", "rerankd stop one two --url http://server:8100"),
)
@click.argument("ids", nargs=-1, required=True)
@with_server
@with_state
def stop_command(
    ids: tuple[str, ...],
    url: str,
    api_key: str | None,
    config_file: Path | None,
    state_dir: str | None,
) -> None:
    """Drain, unload and remove deployments of a running server.

    Where no server runs at a local URL, they are removed from the state, so that the next start
    doesn't load them.
    """
    with server_client(url, api_key) as client:
        if is_without_server(client):
            _forget(ids, _folder(config_file, state_dir), url)
            return
        for one in ids:
            ask_server(client, "DELETE", path_of_deployment(one))
            output.print_note(f"{one} stopped")


@click.command(
    "restart",
    cls=HelpPage,
    examples=("rerankd restart bge-reranker-v2-m3", "rerankd restart bge-reranker-v2-m3 --no-wait"),
)
@click.argument("ids", nargs=-1, required=True)
@click.option("--wait/--no-wait", default=True, help="wait until they are ready")
@options.with_json
@with_server
@with_state
def restart_command(  # noqa: PLR0913 - one parameter an option
    ids: tuple[str, ...],
    wait: bool,
    as_json: bool,
    url: str,
    api_key: str | None,
    config_file: Path | None,
    state_dir: str | None,
) -> None:
    """Load absent or failed deployments again, also those held back after a crash.

    Where no server runs at a local URL, the next start tries those that are held back again.
    """
    found: list[Status] = []
    with server_client(url, api_key) as client:
        if is_without_server(client):
            _allow(ids, _folder(config_file, state_dir), url)
            return
        for one in ids:
            answer = ask_server(client, "POST", f"{path_of_deployment(one)}/restart")
            begun = msgspec.json.decode(answer, type=Status)
            found.append(follow_status(client, begun) if wait else begun)
    print_statuses(found, as_json=as_json)
    if any(one.state == "failed" for one in found):
        sys.exit(1)


def is_without_server(client: httpx.Client) -> bool:
    """Return whether a URL is of this machine and nothing listens there."""
    if not _is_here(client.base_url.host):
        return False
    try:
        client.get("/health/live")
    except httpx.ConnectError:
        return True
    except httpx.HTTPError:  # something listens; the request itself will say what is wrong
        return False
    return False


def path_of_deployment(deployment_id: str) -> str:
    """Return a deployment's path, whatever its id holds."""
    return f"/v1/deployments/{quote(deployment_id, safe='')}"


def _folder(config_file: Path | None, state_dir: str | None) -> Path:
    return state_folder(options.load(config_file, {"state_dir": state_dir}).settings)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _forget(ids: Sequence[str], folder: Path, url: str) -> None:
    store = Store(folder)
    for one in ids:
        if not store.forget(one):
            raise _not_stored(one, folder, url)
        output.print_note(f"{one} removed from the state in {folder}; no server runs at {url}")


def _allow(ids: Sequence[str], folder: Path, url: str) -> None:
    store = Store(folder)
    for one in ids:
        known = store.allow_trial(one, MOST_DEATHS - 1)
        if not known and one not in {spec.id for spec in store.deployments()}:
            raise _not_stored(one, folder, url)
        output.print_note(f"{one} will be loaded at the next start; no server runs at {url}")


def _not_stored(deployment_id: str, folder: Path, url: str) -> ModelNotFound:
    return ModelNotFound(
        f"no server runs at {url}, and the state in {folder} has no deployment {deployment_id!r}; "
        "name another server with --url or another state with --state-dir",
        param="id",
    )
