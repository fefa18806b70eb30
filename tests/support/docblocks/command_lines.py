"""Command lines in the handbook, held to click's table of commands and to the justfile."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import click

from rerankd import cli
from rerankd.errors import SettingsError
from rerankd.settings import load_settings, table

from support.docblocks import shell
from support.places import ROOT

NAMES = {one.name for one in table()}
JUSTFILE = ROOT / "justfile"


def recipes() -> set[str]:
    """Return the justfile's recipes that people may name."""
    return set(
        re.findall(r"^([a-z][\w-]*)(?: [^:\n]*)?:(?!=)", JUSTFILE.read_text("utf-8"), re.MULTILINE)
    )


def faults(command: str, *, whole: bool = True) -> Iterator[str]:
    """Yield what is wrong with the calls of `rerankd` and `just` in a command.

    Without `whole`, as in a sentence, arguments may be left out.
    """
    for words in shell.simple_commands(command):
        if words[0] == "just" and words[1:] and words[1] not in recipes():
            yield f"the justfile has no {words[1]}"
        own = shell.rerankd_words(words)
        if own is not None:
            yield from faults_of(own, whole=whole)


def faults_of(words: Sequence[str], *, whole: bool = True) -> Iterator[str]:
    """Yield what is wrong with the words after `rerankd`."""
    try:
        command, context, rest = _resolve(list(words))
        if isinstance(command, click.Group):
            return
        given, left, _ = command.make_parser(context).parse_args(list(rest))
        _require_values(command, context, given)
        if whole and (missing := _missing(command, given)):
            yield f"{context.command_path} lacks {missing}"
        if left:
            yield f"{context.command_path} takes no {left}"
    except (click.UsageError, SettingsError) as error:
        yield f"rerankd {' '.join(words)}: {error}"


def _resolve(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """Return the command that words name, its context, and the words that are left for it."""
    command: click.Command = cli.main
    context = click.Context(command, info_name="rerankd")
    while isinstance(command, click.Group):
        # A group may put in words of its own: `rerankd models chinese` means its command `list`.
        group = command.make_context(context.info_name, words, resilient_parsing=True)
        words = [*group._protected_args, *group.args]
        if not words:
            return command, context, []
        name, found, left = command.resolve_command(group, words)
        if name is None or found is None:
            raise click.UsageError(f"No such command {words[0]!r}.")
        words = left
        command, context = found, click.Context(found, context, info_name=name)
    return command, context, words


def _missing(command: click.Command, given: dict[str, object]) -> str:
    """Return what a command must be given and is not."""
    return ", ".join(
        one.human_readable_name
        for one in command.params
        if one.required and not _is_given(given.get(one.name or ""))
    )


def _is_given(value: object) -> bool:
    return value is not None and value != () and type(value).__name__ != "Sentinel"


def _require_values(command: click.Command, context: click.Context, given: dict[str, Any]) -> None:
    """Raise UsageError or SettingsError for a value that is refused; placeholders are no values."""
    values = {
        one.name: one.type_cast_value(context, given[one.name])
        for one in command.params
        if one.name and _is_given(given.get(one.name)) and not _is_open(one, given[one.name])
    }
    if command.name == "serve":
        load_settings({name: one for name, one in values.items() if name in NAMES}, environment={})


def _is_open(one: click.Parameter, value: Any) -> bool:
    """Tell whether a value is a placeholder, or a path, which is there on a reader's machine."""
    texts = value if isinstance(value, list | tuple) else [value]
    return isinstance(one.type, click.Path | click.File) or any(
        shell.PLACEHOLDER.match(text) for text in texts if isinstance(text, str)
    )
