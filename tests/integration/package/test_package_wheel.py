"""The wheel: what it carries, and that the embedded model comes with it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rerankd import __version__
from rerankd.sources import catalog

from support.places import ROOT, files_in

REGISTRY_MARKS = ("http:", "https:", "--index", "--extra", "--find", "file:", "@ ")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Yield the wheel, built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), "."],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as found:
        yield found


def test_wheel_carries_the_embedded_model(wheel: zipfile.ZipFile) -> None:
    """The weights, the manifest and the card are inside the package."""
    manifest = catalog.find(catalog.DEFAULT)
    assert manifest is not None

    info = wheel.getinfo(f"rerankd/models/{manifest.weights.file}")

    assert info.file_size == manifest.weights.bytes
    assert {"rerankd/models/rerank-mini-en.toml", "rerankd/models/rerank-mini-en.md"} <= set(
        wheel.namelist()
    )


def test_wheel_carries_the_pages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Pages, types and licence are there; tests and documents are not."""
    names = wheel.namelist()

    assert {
        "rerankd/py.typed",
        "rerankd/http/static/api.html",
        "rerankd/http/static/console/main.js",
        "rerankd/cli/systemd/system.service",
    } <= set(names)
    assert any(name.endswith("/LICENSE") for name in names)
    assert not any("train" in name for name in names)
    assert {name.split("/")[0] for name in names} == {"rerankd", f"rerankd-{__version__}.dist-info"}


def test_wheel_ranks_from_where_it_is_installed(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Unpacked elsewhere, the command ranks with the model it brought."""
    wheel.extractall(tmp_path)

    done = subprocess.run(
        [sys.executable, "-m", "rerankd", "rank", "panda"],
        cwd=tmp_path,
        input="hello\nthe panda is a bear\n",
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[0].endswith('"line":2}')


def test_locks_have_hashes_and_no_addresses() -> None:
    """Every locked requirement has a hash; no line names where it comes from."""
    for lock in files_in(ROOT, "requirements/*.txt"):
        lines = [line for line in lock.read_text("utf-8").splitlines() if line[:1] != "#"]
        pinned = [line for line in lines if "==" in line and not line.startswith(" ")]

        assert pinned
        assert not [line for line in lines if any(mark in line for mark in REGISTRY_MARKS)]
        for line in pinned:
            assert lines[lines.index(line) + 1].startswith("    --hash=sha256:")


UNLOCKED = {"diskcache"}
"""What llama-cpp-python asks for and rerankd never imports: it reads pickles (CVE-2025-69872)."""


def test_locks_have_all_that_their_packages_need() -> None:
    """They are installed without looking for dependencies, so what is left out is left out here."""
    for lock in files_in(ROOT, "requirements/*.txt"):
        text = lock.read_text("utf-8")
        locked = {
            canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
        }
        assert not locked & UNLOCKED
        for name in locked & {canonicalize_name(one.name) for one in distributions()}:
            needed = {Requirement(line) for line in requires(name) or ()}
            missing = {
                canonicalize_name(one.name)
                for one in needed
                if one.marker is None or one.marker.evaluate({"extra": ""})
            } - locked
            assert missing <= UNLOCKED, f"{lock.name}: {name} needs {missing}"


def test_every_dependency_is_locked() -> None:
    """What pyproject.toml asks for stands in the runtime lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lock = (ROOT / "requirements" / "runtime.txt").read_text("utf-8")

    for requirement in project["dependencies"]:
        name = requirement.split(">")[0].strip().replace(".", "-")
        assert f"\n{name}==" in lock
