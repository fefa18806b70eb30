"""Documentation that can be checked is checked."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rerankd import cli, errors
from rerankd.dialects.native import EXAMPLE as PANDA
from rerankd.http.statuses import STATUSES

from docgen import reference
from docgen.markdown import anchor_of
from support.places import ROOT, SOURCE, files_in
from support.serving import client_of, rerank, service_of

PACKAGE = SOURCE / "rerankd"
README = (ROOT / "README.md").read_text("utf-8")
PAGES = files_in(ROOT, "README.md", "docs/*.md")

SETUP = "python3 -m venv .venv && . .venv/bin/activate && pip install rust-just"
"""Makes `just` a command, also where a system's own Python takes no packages."""
NEVER_ON_THE_WIRE = {"bad_request", "unavailable", "server_refused"}
"""Codes of base classes, and of an error that only ends a command."""


def test_readme_starts_with_the_two_commands() -> None:
    """The first screen installs and serves, asks, shows the answer, and runs the tests."""
    blocks = re.findall(r"```\n(.*?)\n```", README[: README.index("\n## ")], re.DOTALL)

    assert blocks[0] == f"{SETUP} && just serve"
    assert blocks[1].startswith("curl http://127.0.0.1:8100/v1/rerank ")
    assert blocks[2].startswith('{"id":"rerank-')
    assert blocks[3:] == ["just test"]


def test_ci_runs_the_readme_s_test_command() -> None:
    """.ci/run sets up as the README does, and ends in what it tells a person to run."""
    run = (ROOT / ".ci" / "run").read_text("utf-8")

    assert run.rstrip().endswith("\njust test")
    assert f"\n{SETUP}\n" in run


def test_readme_s_request_is_the_example_of_the_api() -> None:
    """The curl of the README sends what the OpenAPI document shows, and it is answered."""
    body = re.search(r"-d '(\{.*?\})'", README, re.DOTALL)
    assert body is not None

    request: dict[str, Any] = json.loads(body[1])

    assert request == PANDA
    with client_of(service_of()) as client:
        assert rerank(client, **request).status_code == 200


def test_every_command_stands_in_the_readme() -> None:
    """Nobody has to guess what there is."""
    for command in cli.COMMANDS:
        assert re.search(rf"(rerankd|just|just run) {command}\b", README), command


def test_every_page_is_reached_from_the_readme() -> None:
    """The README's index names every page of docs/."""
    for page in files_in(ROOT, "docs/*.md"):
        assert f"](docs/{page.name})" in README, page.name


def test_error_table_is_complete() -> None:
    """Every code that can be answered stands in docs/api.md with its status, and no other."""
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    documented = {
        (int(status), code)
        for status, code in re.findall(r"^\| (\d+) \| `(\w+)`", page, re.MULTILINE)
    }

    answered = {
        (status, kind.code)
        for kind, status in STATUSES.items()
        if kind.code not in NEVER_ON_THE_WIRE
    }

    assert documented == answered
    assert {kind.code for kind in STATUSES} >= NEVER_ON_THE_WIRE
    assert errors.RerankdError in STATUSES


def test_dependencies_have_their_reasons() -> None:
    """The table in docs/design.md has a row for each runtime dependency."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    section = page[page.index("## Dependencies") :]

    wanted = {re.split(r"[<>=]", text)[0] for text in project["dependencies"]}

    assert wanted == set(
        re.findall(r"^\| ([\w.-]+) \| (?:MIT|BSD|Apache|PSF)", section, re.MULTILINE)
    )


def test_every_decision_names_code_that_is_there() -> None:
    """Each heading among design.md's decisions is followed by its files."""
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    section = page[page.index("## Decisions") : page.index("## Dependencies")]
    decisions = dict(reference.DECISION.findall(section))

    assert list(decisions) == re.findall(r"^### (.+)$", section, re.MULTILINE)
    for title, code in decisions.items():
        for name in re.findall(r"`([^`]+)`", code):
            assert any((place / name).is_file() for place in (PACKAGE, ROOT)), f"{title}: {name}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "justfile"], ids=lambda page: page.name)
def test_files_of_the_repository_that_are_named_are_there(page: Path) -> None:
    """A path that begins with one of the repository's folders leads somewhere.

    A part in capitals, as in tests/unit/ROOM, stands for any name.
    """
    named = re.findall(
        r"(?<![\w/.-])(?:app|tests|scripts|binary|models)/[\w./*-]*\w", page.read_text("utf-8")
    )

    for name in named:
        pattern = re.sub(r"(?<=/)[A-Z]+\b", "*", name)
        assert list(ROOT.glob(pattern)), f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    """Links inside the repository lead to files, and their anchors to headings."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page

        assert found.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text("utf-8"), re.MULTILINE)
            assert anchor in set(map(anchor_of, headings)), target
