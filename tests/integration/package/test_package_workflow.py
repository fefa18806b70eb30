"""The workflow for a forge: valid by its schema, and made of the justfile's recipes."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

import check_jsonschema
import jsonschema_rs
import pytest
import yaml

from support.places import ROOT

FILE = ROOT / ".github/workflows/release.yml"
TEXT = FILE.read_text("utf-8")
JUSTFILE = (ROOT / "justfile").read_text("utf-8")
WORKFLOW: dict[str, Any] = yaml.load(TEXT, yaml.BaseLoader)  # noqa: S506 - only texts; `on` is one


def steps(job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = WORKFLOW["jobs"][job]["steps"]
    return found


def test_it_follows_the_forges_schema() -> None:
    """The schema that check-jsonschema carries."""
    folder = resources.files(check_jsonschema) / "builtin_schemas" / "vendor"
    schema = json.loads((folder / "github-workflows.json").read_text("utf-8"))
    validator = jsonschema_rs.validator_for(schema)
    found = yaml.safe_load(TEXT)
    found["on"] = found.pop(True)  # YAML 1.1 takes `on` for a truth value, forges don't

    assert [error.message for error in validator.iter_errors(found)] == []
    assert not validator.is_valid({**found, "jobs": {"build": {"steps": []}}})


def test_it_builds_and_tests_with_our_recipes() -> None:
    """Each command of just is a recipe of the justfile, and the release is among them."""
    called = re.findall(r"bin/just ([\w-]+)", TEXT)

    assert called[:3] == ["binary", "wheels", "test-binary"]  # for the other architecture
    assert called[3:] == ["release", "test-binary", "test-release"]
    for recipe in called:
        assert re.search(rf"^{recipe}\b.*:", JUSTFILE, re.MULTILINE)


@pytest.mark.parametrize("job", ["arm", "build"])
def test_it_installs_what_the_build_needs(job: str) -> None:
    """The packages that docs/install.md names for the binary; on ARM, it names one more."""
    page = (ROOT / "docs/install.md").read_text("utf-8").replace("\n", " ")
    named = re.search(r"\(Debian: `([\w -]+)`\)", page)
    headers = re.search(r"On ARM, it also takes Python's headers \(`([\w -]+)`\)", page)
    assert named is not None
    assert headers is not None
    wanted = {*named[1].split(), "libpython3.11", "python3-venv"}
    if job == "arm":
        wanted.add(headers[1])

    assert wanted <= set(steps(job)[0]["run"].split())


def test_a_release_has_both_architectures() -> None:
    """Each is built on its own processors, in the same system, and ARM's files are released."""
    arm, build = WORKFLOW["jobs"]["arm"], WORKFLOW["jobs"]["build"]
    (kept,) = (step["with"] for step in steps("arm") if "upload" in step.get("uses", ""))
    (fetched,) = (step["with"] for step in steps("build") if "download" in step.get("uses", ""))

    assert arm["runs-on"].endswith("-arm")
    assert (arm["container"], build["needs"]) == (build["container"], "arm")
    assert fetched == {"name": kept["name"], "path": "dist"}
    assert kept["path"].split() == ["dist/rerankd-aarch64", "dist/llama_cpp_python-*.whl"]


def test_only_a_tag_is_published_and_only_there_may_it_write() -> None:
    publish = WORKFLOW["jobs"]["publish"]

    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "permissions" not in WORKFLOW["jobs"]["build"]
    assert publish["permissions"] == {"contents": "write"}
    assert publish["if"] == "github.ref_type == 'tag'"
    assert publish["needs"] == "build"


def test_no_expression_stands_in_a_script() -> None:
    """A tag's name is somebody's text: it reaches a shell as a variable only."""
    scripts = [step["run"] for job in WORKFLOW["jobs"] for step in steps(job) if "run" in step]

    assert scripts
    assert not [script for script in scripts if "${{" in script]
