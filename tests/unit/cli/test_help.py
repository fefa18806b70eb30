"""Help of every command: options under headings, examples that work, `--json` at every table."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from rerankd import cli, settings
from rerankd.cli import output
from rerankd.settings.groups import FIRST_OF_GROUP, heading_of


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Yield each command and subcommand with its words."""
    root = click.Context(cli.main, info_name="rerankd")
    yield "", cli.main
    for name in cli.COMMANDS:
        command = cli.main.get_command(root, name)
        assert command is not None
        yield name, command
        for inner, one in getattr(command, "commands", {}).items():
            yield f"{name} {inner}", one


COMMANDS = dict(every_command())
GROUPS = [words for words, command in COMMANDS.items() if isinstance(command, click.Group)]

each_command = pytest.mark.parametrize("words", COMMANDS)


def help_of(words: str, width: int = 80) -> str:
    result = CliRunner().invoke(
        cli.main, [*words.split(), "--help"], terminal_width=width, env={"COLUMNS": str(width)}
    )
    assert result.exit_code == 0
    return result.stdout


def test_every_setting_has_a_heading() -> None:
    """Each heading's first setting exists, and the order of settings puts the others below it."""
    names = [one.name for one in settings.table()]
    assert set(FIRST_OF_GROUP) <= set(names)
    assert all(map(heading_of, settings.table()))


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize("words", GROUPS)
def test_what_a_command_does_is_never_cut(words: str, width: int) -> None:
    """The whole first sentence is there, on as many lines as it takes."""
    shown = help_of(words, width)
    inside = " ".join(shown.split())
    commands = {
        name: one
        for path, one in COMMANDS.items()
        for parent, _, name in [path.rpartition(" ")]
        if name and parent == words
    }
    assert commands
    for one in commands.values():
        assert " ".join(one.get_short_help_str(1000).split()) in inside
    listed = shown[shown.index("\nCommands:\n") :].partition("\n\n")[0]
    assert max(map(len, listed.splitlines())) <= width


def test_options_are_listed_under_headings() -> None:
    """Own options first, then settings by what they are about."""
    shown = help_of("rank")
    places = [shown.index(f"\n{heading}:\n") for heading in ("Options", "Model", "Computation")]
    assert places == sorted(places)
    assert places[1] < shown.index("--as ") < places[2] < shown.index("--threads ")
    assert "  QUERY" not in shown  # arguments are in the usage and the text


@each_command
def test_every_help_ends_with_examples_that_parse(words: str) -> None:
    """Each example is of that command, and its options are there; none is wrapped at 80."""
    command = COMMANDS[words]
    examples: tuple[str, ...] = getattr(command, "examples", ())
    shown = help_of(words)
    assert examples
    for example in examples:
        assert example in shown
        assert max(map(len, example.splitlines())) <= 78
        if "COMMAND" not in example and "$(" not in example:
            require_parses(example)


def require_parses(example: str) -> None:
    """Raise where an option or a command of an example isn't there."""
    typed = shlex.split(example.replace("\\\n", " "))
    words = next(
        filter(None, (typed[at + 1 :] for at, one in enumerate(typed) if one == "rerankd")), []
    )
    for end in ("|", ">"):
        words = words[: words.index(end)] if end in words else words
    inner = getattr(COMMANDS[words[0]], "commands", None)
    name, left = words[0], words[1:]
    if inner is not None:
        named = left and left[0] in inner
        name, left = (f"{name} {left[0]}", left[1:]) if named else (f"{name} list", left)
    command = COMMANDS[name]
    command.make_parser(click.Context(command)).parse_args(left)


PRINT_TABLES = (
    *("rank", "models list", "models show", "inspect", "convert", "devices", "deploy", "ps"),
    *("restart", "keys list", "tune", "bench", "eval", "config"),
)


@pytest.mark.parametrize("words", PRINT_TABLES)
def test_what_prints_a_table_takes_json(words: str) -> None:
    """`output.print_results` has no default for it, so that no command forgets it."""
    assert "--json" in {name for one in COMMANDS[words].params for name in one.opts}
    with pytest.raises(TypeError, match="as_json"):
        output.print_results([], lambda _console: None)  # type: ignore[call-arg]
