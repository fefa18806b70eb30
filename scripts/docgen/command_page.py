"""docs/cli.md, from click's own table of commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import click

from rerankd import cli, settings
from rerankd.cli.help import SettingOption

from docgen.markdown import codes, table

BY_FLAG = {one.flag: one for one in settings.table()}
_RANGES = (click.IntRange, click.FloatRange)
HEAD = """\
# Commands

This page lists every command and option. `just docs` generates it from the program's own help, so
`rerankd COMMAND --help` shows the same. Commands write data to standard output and everything else
to standard error. Output that is a table in a terminal is JSON, JSONL or TOML in a pipe, and JSON
anywhere with `--json`. A table that is too wide for the terminal leaves columns out and names them.
Usage and settings errors exit with status 2, Ctrl-C with 130. Every command also has `-h` and
`--help`; `rerankd --version` prints the version.
"""


def page() -> str:
    """Return the whole page."""
    listed = [(f"[`rerankd {name}`](#rerankd-{name})", _short(name)) for name in cli.COMMANDS]
    parts = [HEAD, table(("command", "what it does"), listed)]
    for name in cli.COMMANDS:
        parts += _section(_command(name), ("rerankd", name))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _command(name: str) -> click.Command:
    found = cli.main.get_command(click.Context(cli.main), name)
    assert found is not None
    return found


def _short(name: str) -> str:
    return _command(name).get_short_help_str(limit=1000)


def _section(command: click.Command, words: tuple[str, ...]) -> Iterator[str]:
    """Yield a command's parts, and those of its own commands."""
    context = click.Context(command, info_name=" ".join(words))
    yield f"##{'#' * (len(words) - 2)} {' '.join(words)}"
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    yield f"```text\n{usage}\n```"
    yield inspect.cleandoc(command.help or "")
    yield from _settings_of(command)
    examples = getattr(command, "examples", ())
    if examples:
        yield "```text\n" + "\n".join(examples) + "\n```"
    rows = [_row(one, context) for one in command.params if _is_own(one)]
    if rows:
        yield table(("option", "default", "meaning"), rows)
    for name, one in getattr(command, "commands", {}).items():
        yield from _section(one, (*words, name))


def _is_own(option: click.Parameter) -> bool:
    return isinstance(option, click.Option) and not _is_setting(option)


def _is_setting(option: click.Parameter) -> bool:
    """Return whether an option is made from the table of settings."""
    return isinstance(option, SettingOption)


def _settings_of(command: click.Command) -> Iterator[str]:
    """Yield a line on the settings among a command's options; settings.md describes each."""
    flags = [one.opts[0] for one in command.params if _is_setting(one)]
    if set(flags) == {flag for flag, one in BY_FLAG.items() if one.name not in settings.SECRET}:
        yield "Takes every [setting](settings.md)."
    elif flags:
        yield f"Takes the [settings](settings.md) {codes(flags)}."


def _row(option: Any, context: click.Context) -> tuple[str, str, str]:
    names = codes((*option.opts, *option.secondary_opts))
    metavar = "" if option.is_flag else f" {_taken(option, context)}"
    default = option.get_default(context)
    shown = "" if option.is_flag or _is_nothing(default) else f"`{_plain(default)}`"
    return f"{names}{metavar}", shown, option.help or ""


def _taken(option: Any, context: click.Context) -> str:
    """Return what an option takes, with the bounds of a number."""
    bounds = option.type._describe_range() if isinstance(option.type, _RANGES) else ""
    return f"{option.make_metavar(context)} {bounds}".replace(" RANGE", "").rstrip()


def _plain(default: object) -> str:
    return " ".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)


def _is_nothing(default: object) -> bool:
    """Return whether a default means nothing; click has its own value for one that is not set."""
    return default in {None, "", ()} or type(default).__name__ == "Sentinel"
