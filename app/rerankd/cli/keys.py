"""`rerankd keys`: make, list and revoke API keys in the state folder, with a server or without."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from rerankd.auth.keys import ALL_SCOPES, KEY_MARK, keep_key, key_store_of, make_key
from rerankd.cli import options, output
from rerankd.cli.help import HelpGroup, option_under
from rerankd.cli.tables import TableColumn, show_table
from rerankd.dialects import management
from rerankd.errors import NotFound
from rerankd.settings import state_folder
from rerankd.store import Key, Store

COMMAND_BUSY_SECONDS = 10.0
"""How long a command waits for a lock: nobody else waits for it."""
limit_option = option_under("Limits")
EXPIRY_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class Expiry(click.ParamType[int]):
    """A time from now such as 12h, 30d or 8w, or a day such as 2027-01-31, as Unix seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,4})([hdw])", value)
        now = datetime.now(UTC)
        try:
            day = now + timedelta(**{EXPIRY_UNITS[found[2]]: int(found[1])}) if found else None
            moment = day or datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither a duration such as 30d nor a date", param, ctx)
        if moment <= now:
            self.fail(f"{value!r} is not in the future", param, ctx)
        return int(moment.timestamp())


@click.group(
    "keys",
    cls=HelpGroup,
    examples=(
        "rerankd keys create wiki --expires 90d",
        "rerankd keys list",
        "rerankd keys revoke ID",
    ),
)
def keys_command() -> None:
    """Create, list and revoke API keys. A running server notices at the next request."""


@keys_command.command(
    "create",
    examples=(
        "rerankd keys create wiki --expires 90d",
        "rerankd keys create admin --scope manage --scope inference",
        "rerankd keys create guest --model rerank-mini-en \\\n      --requests-per-minute 60",
    ),
)
@click.argument("name")
@click.option("--expires", type=Expiry(), help="12h, 30d, 8w or a date; default: never")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(ALL_SCOPES),
    multiple=True,
    default=("inference",),
    show_default=True,
    help="what the key allows; repeat for both",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    help="a model the key works with; repeatable; default: all",
)
@limit_option("--requests-per-minute", type=click.IntRange(0), help="0: no limit")
@limit_option("--tokens-per-minute", type=click.IntRange(0), help="0: no limit")
@limit_option("--concurrent-requests", type=click.IntRange(0), help="0: no limit")
@click.option(
    "--on-timeout",
    type=click.Choice(["error", "partial"]),
    help="what the deadlines of its requests end in; default: the server's setting",
)
@options.with_settings({"state_dir"})
def create_key_command(
    name: str, config_file: Path | None, state_dir: str | None, **given: Any
) -> None:
    """Create a key called NAME and print it to standard output. It is never shown again."""
    store = _opened_store(config_file, state_dir)
    body = {**given, "name": name, "scopes": list(given["scopes"])}
    body["models"] = list(given["models"]) or None
    try:
        wire = msgspec.convert(body, management.KeyRequest)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error)) from error
    key, text = make_key(now=time.time(), **msgspec.structs.asdict(wire))
    if not _in_force(store) and "manage" not in key.scopes:
        output.print_note(
            "no key can manage the server over HTTP yet; create one with --scope manage"
        )
    keep_key(store, key, time.time())
    output.print_note(f"{key.id}: store the key now; it cannot be shown again")
    output.print_text(text)


@keys_command.command("list", examples=("rerankd keys list", "rerankd keys list --json"))
@options.with_json
@options.with_settings({"state_dir"})
def list_keys_command(*, as_json: bool, config_file: Path | None, state_dir: str | None) -> None:
    """List all keys, including those in the settings, as a table or, in a pipe, JSONL."""
    settings = options.load(config_file, {"state_dir": state_dir}).settings
    ring = key_store_of(settings, Store(state_folder(settings)))
    ring.load()
    found = ring.keys
    replies = map(management.key_reply_of, found)
    output.print_results(replies, lambda console: show_keys(found, console), as_json=as_json)


@keys_command.command("revoke", examples=("rerankd keys revoke ID",))
@click.argument("ids", nargs=-1, required=True)
@options.with_settings({"state_dir"})
def revoke_keys_command(
    ids: tuple[str, ...], config_file: Path | None, state_dir: str | None
) -> None:
    """Revoke keys, given by id or by the beginning of the key."""
    store = _opened_store(config_file, state_dir)
    for named in ids:
        known = [one.id for one in store.api_keys() if named in {one.id, one.prefix}]
        if not known or not store.revoke_key(known[0], int(time.time())):
            shown = "this" if named.startswith(KEY_MARK) else repr(named)
            raise NotFound(f"no active API key {shown}; `rerankd keys list` shows them")
        output.print_note(f"{known[0]} revoked")
    if not _in_force(store):
        output.print_note("no key is left: a server on loopback no longer requires one")


@keys_command.command("reset", examples=("rerankd keys reset",))
@options.with_settings({"state_dir"})
def reset_keys_command(config_file: Path | None, state_dir: str | None) -> None:
    """Start without keys after the state file was lost or damaged.

    A damaged file is renamed, and its deployments are lost with it.
    """
    moved = _opened_store(config_file, state_dir).reset_keys()
    if moved:
        output.print_note(f"moved the damaged state file to {moved}")
    output.print_note("rerankd starts without API keys now; restart a running server")


def _opened_store(config_file: Path | None, state_dir: str | None) -> Store:
    settings = options.load(config_file, {"state_dir": state_dir}).settings
    return Store(state_folder(settings), COMMAND_BUSY_SECONDS)


def _in_force(store: Store) -> bool:
    return any(key.revoked is None for key in store.api_keys())


KEY_COLUMNS = (
    TableColumn("id", style="bold"),
    TableColumn("name", wraps=10),
    TableColumn("key", rank=4),
    TableColumn("scopes", rank=3, wraps=10),
    TableColumn("models", rank=6, wraps=12),
    TableColumn("limits", rank=5, wraps=14),
    TableColumn("last used", rank=2, wraps=10),
    TableColumn("standing", rank=1, wraps=10),
)


def show_keys(found: Sequence[Key], console: Console) -> None:
    """Print keys as a table for a person."""
    if not found:
        console.print("no keys; `rerankd keys create NAME` makes one")
        return
    show_table(console, KEY_COLUMNS, [_key_cells(key) for key in found])


def _key_cells(key: Key) -> tuple[str, ...]:
    standing = "active" if key.expires is None else f"until {_local_time(key.expires)}"
    if key.expires is not None and key.expires <= time.time():
        standing = f"expired {_local_time(key.expires)}"
    if key.revoked is not None:
        standing = f"revoked {_local_time(key.revoked)}"
    return (
        key.id,
        key.name,
        f"{key.prefix}…" if key.prefix else "",
        ", ".join(key.scopes),
        "all" if key.models is None else ", ".join(key.models),
        _limits_text(key),
        "never" if key.last_used is None else _local_time(key.last_used),
        standing,
    )


def _limits_text(key: Key) -> str:
    named = {
        "requests/min": key.requests_per_minute,
        "tokens/min": key.tokens_per_minute,
        "at once": key.concurrent_requests,
    }
    own = [f"{limit or 'any'} {unit}" for unit, limit in named.items() if limit is not None]
    return ", ".join(own) or "the server's"


def _local_time(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
