"""`rerankd deploy` and `ps`: manage a running server's deployments over its API."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

import click
import httpx
import msgspec
from rich.console import Console

from rerankd.cli import options, output
from rerankd.cli.completion import complete_model
from rerankd.cli.help import HelpPage, option_under
from rerankd.cli.options import HTTP_ADDRESS
from rerankd.cli.progress import stages_shown
from rerankd.cli.tables import TableColumn, show_table
from rerankd.deployments import Status
from rerankd.dialects.error_format import ErrorReply
from rerankd.dialects.management import DeploymentList
from rerankd.errors import InvalidRequest, ServerRefused
from rerankd.settings import MODEL_SETTINGS
from rerankd.settings.proxies import ProxiedTransport
from rerankd.utf8 import without_surrogates

SERVER_SECONDS = 60.0
SETTLED = frozenset({"ready", "failed", "absent"})

ClickCommand = Callable[..., Any]
server_option = option_under("Server")


def with_server(command: ClickCommand) -> ClickCommand:
    """Add `--url` and `--api-key` to a command."""
    url = server_option(
        "--url",
        type=HTTP_ADDRESS,
        default="http://127.0.0.1:8100",
        envvar="RERANKD_URL",
        show_default=True,
        help="server [env: RERANKD_URL]",
    )
    key = server_option("--api-key", envvar="RERANKD_API_KEY", help="[env: RERANKD_API_KEY]")
    return url(key(command))


@click.command(
    "deploy",
    cls=HelpPage,
    examples=(
        "rerankd deploy bge-reranker-v2-m3",
        "rerankd deploy hf:gpustack/bge-reranker-v2-m3-GGUF:Q8_0 --id bge",
        "rerankd deploy https://huggingface.co/BAAI/bge-reranker-v2-m3",
        "rerankd deploy ./model.gguf --pin --option context=2048",
        "rerankd deploy qwen3-reranker-0.6b --url http://server:8100",
    ),
)
@click.argument("model", shell_complete=complete_model)
@click.option("--id", "deployment_id", help="name for requests; default: the model's id")
@click.option(
    "--as",
    "as_family",
    default="",
    metavar="FAMILY",
    help="which reranker the file is, where its metadata doesn't say: a family or a catalog id",
)
@click.option(
    "--mmproj",
    default="",
    metavar="FILE",
    help="projector by which it sees pictures: a path on the server's machine, "
    "hf:owner/repo:file.gguf, or none; default: the one that comes with it",
)
@click.option(
    "--accept-unproven",
    is_flag=True,
    help="serve it even if the load check finds that it doesn't put relevant texts first",
)
@click.option("--pin", is_flag=True, help="never unload it when idle or to free memory")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="a setting for this deployment"
)
@click.option("--wait/--no-wait", default=True, help="wait until it is ready")
@options.with_json
@with_server
def deploy_command(  # noqa: PLR0913 - one parameter an option
    model: str,
    deployment_id: str | None,
    as_family: str,
    mmproj: str,
    accept_unproven: bool,
    pin: bool,
    options: tuple[str, ...],
    wait: bool,
    as_json: bool,
    url: str,
    api_key: str | None,
) -> None:
    """Add MODEL to a running server.

    MODEL is a catalog id, a path on the server's machine, hf:owner/repo:file.gguf, or the address
    of a model or file on huggingface.co.
    """
    _require_utf8(model)
    own: dict[str, str | bool] = {**_parse_options(options)}
    if accept_unproven:
        own["accept_unproven"] = True
    if mmproj:
        own["mmproj"] = mmproj
    body = {"model": model, "id": deployment_id, "pinned": pin, "options": own}
    if as_family:
        body["as"] = as_family
    with server_client(url, api_key) as client:
        found = msgspec.json.decode(
            ask_server(client, "POST", "/v1/deployments", body), type=Status
        )
        if wait:
            found = follow_status(client, found)
    print_statuses([found], as_json=as_json)
    if found.state == "failed":
        sys.exit(1)


@click.command(
    "ps",
    cls=HelpPage,
    examples=("rerankd ps", "rerankd ps --json", "rerankd ps --url http://server:8100"),
)
@options.with_json
@with_server
def ps_command(*, as_json: bool, url: str, api_key: str | None) -> None:
    """List a running server's deployments, as a table in a terminal or JSONL in a pipe."""
    print_statuses(statuses(url, api_key), as_json=as_json)


def statuses(url: str, api_key: str | None) -> list[Status]:
    """Return a server's deployments. Raises ServerRefused with the server's message."""
    with server_client(url, api_key) as client:
        answer = ask_server(client, "GET", "/v1/deployments")
    return msgspec.json.decode(answer, type=DeploymentList).data


def _require_utf8(model: str) -> None:
    """Raise InvalidRequest for the path of a file whose name JSON can't hold."""
    if without_surrogates(model) != model:
        raise InvalidRequest(
            f"the path {model!r} has bytes that are not UTF-8, which the API can't carry; deploy"
            " the file under another name: ln -s THE-FILE model.gguf",
            param="model",
        )


def _parse_options(pairs: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.replace("-", "_")
        if not equals or name not in MODEL_SETTINGS:
            known = ", ".join(sorted(MODEL_SETTINGS))
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE; the names are {known}")
        found[name] = value
    return found


def server_client(url: str, api_key: str | None) -> httpx.Client:
    """Return a client of a server's API."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return httpx.Client(
        base_url=url,
        headers=headers,
        timeout=SERVER_SECONDS,
        trust_env=False,
        transport=ProxiedTransport(),
    )


def ask_server(client: httpx.Client, method: str, path: str, body: Any = None) -> bytes:
    """Return a response's body. Raises ServerRefused with the server's message."""
    try:
        response = client.request(method, path, json=body)
    except httpx.ConnectError as error:
        raise ServerRefused(
            f"no response from {client.base_url}: {_reason(error)}; start a server with"
            " `rerankd serve`, or name another with --url"
        ) from error
    except httpx.HTTPError as error:
        raise ServerRefused(f"no response from {client.base_url}: {error}") from error
    if response.is_success:
        return response.content
    try:
        body = msgspec.json.decode(response.content, type=ErrorReply).error
    except msgspec.DecodeError:
        raise ServerRefused(f"{response.status_code}: {response.reason_phrase}") from None
    raise ServerRefused(f"{response.status_code}: {body.message}", param=body.param)


def _reason(error: httpx.ConnectError) -> str:
    """Return why there was no connection, without the number that the system has for it."""
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error))


def follow_status(client: httpx.Client, found: Status) -> Status:
    """Report each change on standard error until the deployment is ready or failed.

    Raises ServerRefused where the server goes away meanwhile.
    """
    try:
        with closing(_changes(client)) as changes:
            found = _follow(found, changes)
    except KeyboardInterrupt:
        output.print_note(f"the server goes on with {found.id}; `rerankd ps` shows how far it is")
        raise
    except httpx.HTTPError as error:
        raise ServerRefused(
            f"the server at {client.base_url} went away while {found.id} was {found.state} "
            f"({type(error).__name__}); see its log"
        ) from error
    return found


def _follow(found: Status, changes: Iterator[Status]) -> Status:
    """Return the last status of a deployment; a download is one bar, other changes are lines."""
    own = (status for status in changes if status.id == found.id)
    for status in own:
        found = status
        if _is_counted(found):
            found = _follow_bytes(found, own)
        output.print_note(f"{found.id} {found.state}: {found.message}")
        if found.state in SETTLED:
            break
    return found


def _is_counted(status: Status) -> bool:
    return status.progress is not None and status.progress.total > 0


def _follow_bytes(found: Status, own: Iterator[Status]) -> Status:
    """Show the bytes of a state as they grow; return the first status without any."""
    with stages_shown(found.id) as on_stage:
        while found.progress is not None and found.progress.total:
            on_stage(found.state, found.progress)
            following = next(own, None)
            if following is None:
                break
            found = following
    return found


def _changes(client: httpx.Client) -> Generator[Status]:
    timeout = httpx.Timeout(SERVER_SECONDS, read=None)
    with client.stream("GET", "/v1/deployments/events", timeout=timeout) as events:
        for line in events.iter_lines():
            if line.startswith("data:"):
                yield msgspec.json.decode(line.removeprefix("data:").strip(), type=Status)


def _state_text(status: Status) -> str:
    progress = status.progress
    if progress is None or not progress.total:
        return status.message
    return f"{status.message} {progress.done / progress.total:.0%} of {progress.total} bytes"


STATUS_COLUMNS = (
    TableColumn("id", style="bold"),
    TableColumn("state"),
    TableColumn("message", rank=1, wraps=16),
    TableColumn("MB", rank=2, right=True),
    TableColumn("requests", rank=4, right=True),
    TableColumn("source", rank=3, wraps=16),
)


def print_statuses(found: list[Status], *, as_json: bool = False) -> None:
    """Print deployments as a table in a terminal or JSONL in a pipe."""
    output.print_results(found, lambda console: show_statuses(found, console), as_json=as_json)


def show_statuses(found: list[Status], console: Console) -> None:
    """Print deployments as a table for a person."""
    if not found:
        console.print("no deployments; `rerankd deploy MODEL` adds one")
        return
    rows = [
        (
            one.id,
            one.state,
            _state_text(one),
            f"{one.memory_bytes / 1e6:.0f}",
            str(one.load.requests),
            one.source,
        )
        for one in found
    ]
    show_table(console, STATUS_COLUMNS, rows)
