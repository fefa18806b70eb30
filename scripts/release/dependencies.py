"""Puts what pip needs into dist/, so that it installs without an index and compiles nothing."""

from __future__ import annotations

import hashlib
import html
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from release.locks import ENGINE, PYTHONS, Pin, machine, needed

FOLDER = "dependencies"
TAGS = ("2014", "_2_17", "_2_24", "_2_26", "_2_27", "_2_28", "_2_31", "_2_34")
"""What of manylinux packages may need: no more than the engine wheel does."""

HEAD = """\
# rerankd {version} with the packages that it was tested with. Compiles nothing:
#   python3 -m venv rerankd && rerankd/bin/pip install -r requirements.txt
# rerankd and its engine are in the folder of this file.
--only-binary :all:
--find-links .
"""


def file_hash(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def pin_of(wheels: Sequence[Path]) -> Pin:
    """Return one pin for all of a package's wheels. Raises ValueError where versions differ."""
    (name, version) = {parse_wheel_filename(path.name)[:2] for path in wheels}.pop()
    if any(parse_wheel_filename(path.name)[1] != version for path in wheels):
        raise ValueError(f"wheels of {name} have different versions")
    hashes = (f"sha256:{file_hash(path)}" for path in wheels)
    return Pin(Requirement(f"{name}=={version}"), tuple(hashes))


def architectures(engines: Iterable[Path]) -> dict[str, str]:
    """Return the platform tag of each engine wheel by its architecture."""
    tags = (next(iter(parse_wheel_filename(path.name)[3])).platform for path in engines)
    return {tag.split("_", 3)[3]: tag for tag in tags}


def released(pins: Iterable[Pin], architectures: Iterable[str]) -> list[Pin]:
    """Return the pins that rerankd needs on Linux, on any of the architectures and Pythons."""
    machines = [machine(python, one) for one in architectures for python in PYTHONS]
    names = {name for each in machines for name in needed("rerankd", each)}
    return [
        pin
        for pin in pins
        if pin.name in names and any(pin.applies(each) for each in machines) and pin.name != ENGINE
    ]


def requirements(version: str, pins: Iterable[Pin]) -> str:
    """Return requirements.txt of a release."""
    return HEAD.format(version=version) + "".join(f"{pin.text()}\n" for pin in pins)


def download(pins: Sequence[Pin], python: str, architecture: str, dist: Path) -> None:
    """Fetch the wheels that a Python takes on an architecture, hashes checked.

    Raises CalledProcessError where one of them has no wheel for it.
    """
    here = machine(python, architecture)
    wanted = "".join(f"{pin.text(marked=False)}\n" for pin in pins if pin.applies(here))
    folder = dist / FOLDER
    folder.mkdir(exist_ok=True)
    asked = folder / f"wanted-{python}-{architecture}.txt"
    asked.write_text(wanted, "utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--implementation", "cp", "--python-version", python, "--dest", str(folder)),
        *("--abi", f"cp{python.replace('.', '')}", "--abi", "abi3", "--abi", "none"),
        *(word for tag in TAGS for word in ("--platform", f"manylinux{tag}_{architecture}")),
        *("--requirement", str(asked)),
    ]
    subprocess.run(command, check=True)
    asked.unlink()


def index(dist: Path) -> str:
    """Return a page of links to the folder's wheels: pip reads it where it is told --find-links."""
    names = sorted(path.name for path in (dist / FOLDER).glob("*.whl"))
    links = (f'<a href="{FOLDER}/{html.escape(name)}">{html.escape(name)}</a>' for name in names)
    return "<!doctype html>\n" + "<br>\n".join(links) + "\n"
