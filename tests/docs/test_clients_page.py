"""docs/clients.md names the versions that `just test-clients` installs."""

from __future__ import annotations

import json
import re

import pytest

from support.clients_table import CLIENTS
from support.places import ROOT, files_in

PAGE = (ROOT / "docs" / "clients.md").read_text("utf-8")
LOCKS = ROOT / "tests" / "integration" / "clients"


def locked() -> dict[str, set[str]]:
    """Return the versions of every locked package, by its name."""
    versions: dict[str, set[str]] = {}
    for lock in files_in(LOCKS, "requirements/*.txt"):
        for name, version in re.findall(
            r"^([\w.-]+)==([^\s;\\]+)", lock.read_text("utf-8"), re.MULTILINE
        ):
            versions.setdefault(name, set()).add(version)
    packages = json.loads((LOCKS / "javascript" / "package-lock.json").read_text("utf-8"))
    for path, facts in packages["packages"].items():
        versions.setdefault(path.removeprefix("node_modules/"), set()).add(facts.get("version", ""))
    return versions


def verified() -> dict[str, set[str]]:
    """Return the versions that the page's table says were run, by package."""
    rows = re.findall(r"^\| .* \| .* \| `([^`]+)` ([^|]+) \|$", PAGE, re.MULTILINE)
    versions: dict[str, set[str]] = {}
    for name, listed in rows:
        versions.setdefault(name, set()).update(listed.split(", "))
    return versions


def test_verified_versions_are_the_locked_ones() -> None:
    """No row of the table tells a version that isn't installed."""
    installed = locked()

    for name, versions in verified().items():
        assert versions <= installed.get(name, set()), name


def test_every_client_that_is_run_has_its_row() -> None:
    """The table and the probes are the same clients."""
    assert set(verified()) == {client.package for client in CLIENTS}


@pytest.mark.parametrize("page", ["langchain", "llamaindex", "litellm"])
def test_guides_name_the_versions_that_run_them(page: str) -> None:
    """What a guide says that its snippets ran with is what is locked."""
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    named = re.findall(r"\bwith ([a-z][a-z-]+) (\d[\d.]*\d)", " ".join(text.split()))

    assert named
    for name, version in named:
        assert version in locked()[name]


def test_locks_hold_no_addresses() -> None:
    """Packages come from wherever the machine's own settings say."""
    for lock in files_in(LOCKS, "requirements/*.txt", "javascript/*.json"):
        assert not re.search(r"--index|\"resolved\"|registry", lock.read_text("utf-8")), lock
