"""The pages that are made from the program say what the program says."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from rerankd import cli
from rerankd.http.application import route_handlers
from rerankd.http.openapi.document import document

from docgen import reference
from docgen.markdown import END, begin_of, cell, put, sentence_part, table


@pytest.mark.parametrize("name", reference.PAGES)
def test_page_is_what_just_docs_writes(name: str) -> None:
    """A page that is older than the program fails; `just docs` writes it anew."""
    page = reference.read(name)

    assert page == reference.PAGES[name](page), "run `just docs`"


@pytest.mark.parametrize("name", ["api.md", "observability.md", "settings.md"])
def test_a_stale_page_is_noticed_and_mended(name: str) -> None:
    """What somebody changed by hand between the marks is written over, and nothing else is."""
    page = reference.read(name)
    before, begin, after = page.partition("<!-- `just docs` writes this: ")
    stale = before + begin + after.replace("` |", "x` |", 1)

    assert stale != page
    assert reference.PAGES[name](stale) == page


def _every_command(
    group: click.Group = cli.main, words: tuple[str, ...] = ()
) -> dict[tuple[str, ...], click.Command]:
    """Return all commands by their words."""
    context, found = click.Context(group), {}
    for name in group.list_commands(context):
        one = group.get_command(context, name)
        assert one is not None
        found[*words, name] = one
        if isinstance(one, click.Group):
            found |= _every_command(one, (*words, name))
    return found


COMMANDS = _every_command()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_of_help_stands_on_the_page(words: tuple[str, ...]) -> None:
    """A command's section, with the settings that it names, has all that --help lists."""
    section = reference.read("cli.md").split(f" rerankd {' '.join(words)}\n", 1)[1]
    section = section.partition("\n## ")[0].partition("\n### ")[0]
    settings = reference.read("settings.md") if "(settings.md)" in section else ""

    shown = CliRunner().invoke(cli.main, [*words, "--help"]).output
    listed = re.findall(r"^  (--[a-z-]+)", shown, re.MULTILINE)

    assert listed or len(COMMANDS[words].params) < 2
    assert {one for one in listed if f"`{one}`" not in section + settings} <= {"--help"}


def test_no_command_needs_more_than_help() -> None:
    """Each command and each of its options has a text in --help."""
    for words, command in COMMANDS.items():
        assert command.help, words
        for one in command.params:
            if isinstance(one, click.Option):
                assert one.help, (words, one.name)


def test_every_route_and_field_stands_on_the_page() -> None:
    """Paths, parameters and bodies of the OpenAPI document have their rows."""
    page, spec = reference.read("api-reference.md"), document(route_handlers(), keyed=True)

    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            assert f"| `{method.upper()} {path}`" in page
            for one in operation.get("parameters", ()):
                assert f"| `{method.upper()} {path}` | `{one['name']}` | {one['in']} |" in page
    for name, schema in spec["components"]["schemas"].items():
        section = page.split(f"\n### {name}\n", 1)[1].partition("\n### ")[0]
        for field in schema.get("properties", {}):
            assert f"| `{field}` |" in section, name


def test_parts_are_put_between_their_marks() -> None:
    """Text around the marks stays; a page without them, or with them twice, is an error."""
    page = f"before\n{begin_of('x')}\nold\n{END}\nafter\n"

    assert put(page, "x", "new") == f"before\n{begin_of('x')}\nnew\n{END}\nafter\n"
    for wrong in ("nothing", page + page, page.replace(END, "")):
        with pytest.raises(ValueError, match=r"needs|follows"):
            put(wrong, "x", "new")


def test_tables_hold_any_text() -> None:
    """Bars and line breaks stay inside their cell."""
    assert cell("a|b\n c\\|d") == r"a\|b c\|d"
    assert table(("x", "y"), [("1", "")]) == "| x | y |\n|---|---|\n| 1 |  |"
    assert sentence_part("It is so.") == "it is so"
    assert sentence_part("HTTP is so.") == "HTTP is so"
