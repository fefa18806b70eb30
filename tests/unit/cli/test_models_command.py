"""`rerankd models`: the list and one model, to a pipe and to a person."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from rerankd import machine
from rerankd.cli import models as command
from rerankd.cli.models import (
    ByteCount,
    details_of,
    models_command,
    serve_commands,
)
from rerankd.cli.models_display import show_details, show_models
from rerankd.errors import ModelNotFound, SettingsError
from rerankd.sources import catalog
from rerankd.sources.catalog import Manifest, Query, Variant

OWN = """\
id = "own"
title = "[bold]Mine[/bold]"
description = "A model of my own"
license = "MIT"
languages = ["de"]
parameters = 1
family = "bert"
score = "sigmoid"
default = "F16"
variants = [{ name = "F16", file = "own.gguf", bytes = 4 }]
context = { trained = 8, recommended = 8 }
shape = { layers = 1, width = 4, heads = 2 }
"""


def invoke(*arguments: str) -> Result:
    """Run the command in this process, with its output in a pipe."""
    return CliRunner().invoke(models_command, arguments)


def rows(*arguments: str) -> list[dict[str, Any]]:
    """Return the JSON lines a command printed."""
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def listing_of(found: Sequence[catalog.Entry], width: int = 200) -> str:
    """Return what a person would see of the list."""
    console = Console(file=io.StringIO(), width=width)
    show_models(found, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def everything_here(_manifest: Manifest, _variant: Variant) -> bool:
    return True


@pytest.fixture(autouse=True)
def two_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have 2 GB of memory free, on any machine."""
    monkeypatch.setattr(machine, "available_memory", lambda: 2 * 10**9)


@pytest.fixture
def own(tmp_path: Path) -> str:
    """Return the path of a person's folder of manifests."""
    (tmp_path / "own.toml").write_text(OWN)
    return str(tmp_path)


# the list


def test_a_pipe_gets_a_line_a_model() -> None:
    """Each model of the catalog is one JSON object with what there is to choose by."""
    found = rows()
    assert {one.id for one in catalog.manifests()} == {row["id"] for row in found}
    bge = next(row for row in found if row["id"] == "bge-reranker-v2-m3")
    assert (bge["title"], bge["license"], bge["languages"]) == (
        *("BGE Reranker v2 M3", "Apache-2.0", ["mul"]),
    )
    assert (bge["bytes"], bge["fits"], bge["installed"]) == (635_676_416, True, False)
    assert bge["memory_bytes"] > bge["bytes"]
    assert bge["quality"][0]["value"] == 0.5526


def test_words_and_filters_narrow_the_list() -> None:
    """Words stand right after the command; every filter holds."""
    assert [row["id"] for row in rows("baai", "chinese")] == [
        "bge-reranker-base",
        "bge-reranker-large",
    ]
    assert [row["id"] for row in rows("--license", "mit")] == [
        "rerank-mini-multi",
        "colbertv2",
        "bge-reranker-base",
        "bge-reranker-large",
        "prism-qwen3.5-reranker-0.8b",
    ]
    korean = [row["id"] for row in rows("--language", "ko", "--max-memory", "320M")]
    assert korean == [
        "rerank-mini-multi",
        "mmarco-mminilmv2-l12-h384-v1",
        "bce-reranker-base-v1",
    ]
    assert {"qwen3-reranker-4b", "qwen3-reranker-8b"}.isdisjoint(
        row["id"] for row in rows("--fits", "qwen3")
    )
    assert rows("list", "baai") == rows("baai")
    assert rows("nothing-like-it") == []


def test_own_manifests_are_listed(own: str) -> None:
    """The folder of the setting catalog_dir adds its models."""
    assert [row["id"] for row in rows("--catalog-dir", own, "my", "own")] == ["own"]


def test_a_wrong_folder_is_an_error() -> None:
    """A folder that isn't there ends the command."""
    assert isinstance(invoke("--catalog-dir", "/no/such").exception, SettingsError)


def test_a_person_gets_a_table() -> None:
    """The table has sizes, memory, licence, languages and what is published, and marks licences."""
    found = catalog.entries(catalog.manifests(), Query(), 2 * 10**9, everything_here)
    text = listing_of(found)
    for expected in ("bge-reranker-v2-m3", "635.7 MB", "zh en ja ko", "0.5526 nDCG@10"):
        assert expected in text
    assert "CC-BY-NC-4.0 (accept)" in text
    assert text.count("(accept)") == 4


@pytest.mark.parametrize("width", [80, 60, 40])
def test_names_are_whole_on_a_narrow_terminal(width: int) -> None:
    """The list keeps to the width; every id is on one line, from 60 on with its memory."""
    found = catalog.entries(catalog.manifests(), Query(), 2 * 10**9, everything_here)
    lines = listing_of(found, width=width).splitlines()
    assert max(map(len, lines)) <= width
    for entry in found:
        row = next(line for line in lines if line.split() and line.split()[0] == entry.id)
        assert width == 40 or re.search(r"\d+\.\d [GM]B", row)
    assert "not shown: " in " ".join(lines)


def test_what_is_not_known_is_a_question_mark() -> None:
    """Where the machine doesn't tell its free memory the table doesn't either."""
    found = catalog.entries(catalog.manifests(), Query(search="lamar"), None, everything_here)
    row = next(line for line in listing_of(found).splitlines() if "lamar-600m" in line)
    assert re.search(r"[GM]B +\? ", row)
    assert row.rstrip().endswith("yes")


@pytest.mark.parametrize(
    ("available", "here", "expected"),
    [
        (10**12, "", "Q8_0 (fits)"),
        (10**8, "", "Q4_K_M (memory)"),
        (None, "", "Q8_0 (memory?)"),
        (10**12, "Q4_K_M", "Q4_K_M (here)"),
    ],
)
def test_the_list_says_why_a_type_was_chosen(
    available: int | None, here: str, expected: str
) -> None:
    """In a word; `show` has the sentence with the figures."""

    def installed(_manifest: Manifest, variant: Variant) -> bool:
        return variant.name == here

    query = Query(search="bge-reranker-v2-m3")
    found = catalog.entries(catalog.manifests(), query, available, installed)
    assert expected in listing_of(found)


def test_a_model_without_a_choice_has_its_type_alone() -> None:
    found = catalog.entries(
        catalog.manifests(), Query(search=catalog.DEFAULT), 10**12, everything_here
    )
    assert re.search(rf"{catalog.DEFAULT} +Q8_0  ", listing_of(found))


def test_nothing_found_is_said_with_the_command_that_may_be_meant() -> None:
    """On standard error, so that a pipe gets no lines."""
    result = invoke("shwo", "bge")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no model matches; did you mean `rerankd models show bge`?\n"


def test_texts_are_not_markup(own: str) -> None:
    """What a manifest says is shown as it stands."""
    manifest = catalog.find("own", Path(own))
    assert manifest
    console = Console(file=io.StringIO(), width=120)
    show_details(details_of(catalog.ChosenType(manifest), 2 * 10**9, catalog.is_beside), console)
    assert "[bold]Mine[/bold]" in console.file.getvalue()  # type: ignore[attr-defined]


# numbers of bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("800", 800),
        ("800M", 800_000_000),
        ("2.5g", 2_500_000_000),
        ("2GiB", 2 * 1024**3),
        ("1 kb", 1000),
        ("512kib", 524_288),
        ("1T", 10**12),
    ],
)
def test_a_size_takes_powers_of_1000_or_1024(text: str, expected: int) -> None:
    """Letters are powers of 1000, with an i powers of 1024."""
    assert expected == ByteCount().convert(text, None, None)
    assert expected == ByteCount().convert(expected, None, None)


@pytest.mark.parametrize("text", ["", "M", "-1", "1e9", "2 gold", "1.2.3", "9" * 20])
def test_other_texts_are_no_bytes(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(click.BadParameter, match="such as 800M"):
        ByteCount().convert(text, None, None)
    assert invoke("--max-memory", text).exit_code == 2


# one model


def test_show_gives_a_pipe_everything() -> None:
    """One JSON object has the variants with their hashes, the sources and the commands."""
    (found,) = rows("show", "BAAI/bge-reranker-v2-m3:q8_0")
    assert (found["id"], found["default"]) == ("bge-reranker-v2-m3", "Q8_0")
    assert found["bytes"] == 635_676_416
    assert [len(variant["sha256"]) for variant in found["variants"]] == [64] * 3
    assert all(quality["source"] for quality in found["quality"])
    assert found["serve"] == [
        "rerankd pull bge-reranker-v2-m3:Q8_0",
        "rerankd serve --model bge-reranker-v2-m3:Q8_0",
    ]


def test_show_tells_of_overrides() -> None:
    """What the engine must be told beyond the file is shown."""
    (found,) = rows("show", "granite-embedding-reranker-english-r2")
    assert found["overrides"] == {"modern-bert.classifier.pooling_type": 2}


@pytest.mark.parametrize(
    ("name", "told"),
    [("nothing", "no model 'nothing' in the catalog"), ("lamar-600m:Q1", "it has Q5_K_M")],
)
def test_show_refuses_what_is_not_there(name: str, told: str) -> None:
    """An unknown model or variant is an error of ours, which the command's group ends."""
    error = invoke("show", name).exception
    assert isinstance(error, ModelNotFound)
    assert told in error.message


def shown(model: str) -> str:
    found = catalog.find(model)
    assert found is not None
    console = Console(file=io.StringIO(), width=160)
    show_details(details_of(catalog.ChosenType(found), 2 * 10**9, catalog.is_beside), console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_a_person_sees_all_of_a_model() -> None:
    """Facts, variants, quality with source, warnings and commands are all on the screen."""
    text = shown("jina-reranker-v2-base-multilingual")
    for expected in (
        "Jina Reranker v2 base multilingual",
        "CC-BY-NC-4.0; needs --accept-license",
        "1,024 of 1,024 tokens",
        "Q8_0 *",
        "57.06 nDCG@10, percent, BEIR (model card of jinaai/jina-reranker-v2-base-multilingual)",
        "warning: CC-BY-NC-4.0: not for commercial use",
        "$ rerankd pull jina-reranker-v2-base-multilingual:Q8_0 --accept-license",
        "no sha256",
    ):
        assert expected in text
    assert "overrides" not in text


def test_doubtful_facts_are_shown_as_such() -> None:
    """Approximate sizes carry a tilde, and unverified keys are listed."""
    text = shown("granite-embedding-reranker-english-r2")
    assert "~161.0 MB" in text
    assert "modern-bert.classifier.pooling_type=2" in text
    assert re.search(r"^unverified +overrides *$", text, re.MULTILINE)


def test_what_is_here_needs_no_download() -> None:
    """The embedded model is served at once, one from the Hub is pulled first."""
    embedded, remote = (catalog.find(name) for name in (catalog.DEFAULT, "bge-reranker-base"))
    assert embedded is not None
    assert remote is not None

    def entry_of(one: catalog.Manifest, *more: Any) -> catalog.Entry:
        return catalog.entry_of(catalog.ChosenType(one), *more)

    assert serve_commands(entry_of(embedded, None, catalog.is_beside)) == (
        "rerankd serve --model rerank-mini-en:Q8_0",
    )
    assert len(serve_commands(entry_of(remote, None, catalog.is_beside))) == 2
    assert len(serve_commands(entry_of(remote, None, everything_here))) == 1


def test_the_command_asks_what_it_is_wired_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both commands take their word for what is here from one function."""
    monkeypatch.setattr(command.sources, "is_installed", everything_here)
    assert all(row["installed"] for row in rows())
    (found,) = rows("show", "bge-reranker-base")
    assert found["serve"] == ["rerankd serve --model bge-reranker-base:Q8_0"]


def test_help_lists_the_commands_of_models() -> None:
    """The group's help lists its commands instead of the models."""
    result = invoke("--help")
    assert result.exit_code == 0
    assert "show" in result.output
    assert "list" in result.output


def test_what_is_converted_here_says_so() -> None:
    """The commands convert instead of downloading, and the entry names the checkpoint."""
    (found,) = rows("show", "ettin-reranker-17m-v1")

    assert found["serve"][0] == "rerankd convert ettin-reranker-17m-v1:Q8_0"
    assert found["variants"][0]["checkpoint"] == "cross-encoder/ettin-reranker-17m-v1"
