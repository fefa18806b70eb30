"""What other releases of Python 3.11 do otherwise, above all 3.11.2, which Debian 12 has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig

import pytest

from support.fakes import PATIENCE
from support.places import ROOT, SOURCE, files_in

pytestmark = pytest.mark.slow

SYSTEMS_PYTHON = shutil.which("python3", path="/usr/bin")
VERSION = "import sys; print(*sys.version_info[:3], sep='.')"
RAISED_IN_GROUP = re.compile(r"^\s*except\*", re.MULTILINE)
POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[\d,]+\})\+")
SENSITIVE = (
    "test_utf8.py",
    "dialects/test_long_texts.py",
    "http/test_language_choice.py",
    "service/test_pictures.py",
)


def _version_of(python: str) -> str:
    return subprocess.run(
        [python, "-c", VERSION], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_nothing_is_used_that_differs() -> None:
    """There `except*` raises groups of what it raises, and possessive groups match too little."""
    for path in files_in(SOURCE, "**/*.py"):
        code = path.read_text("utf-8")
        assert not RAISED_IN_GROUP.search(code), path
        assert not POSSESSIVE_GROUP.search(code), path


def test_another_release_passes_what_differed() -> None:
    """Where it is a release of the same minor version, it runs what differed once."""
    own = _version_of(sys.executable)
    found = _version_of(SYSTEMS_PYTHON) if SYSTEMS_PYTHON else ""
    if not found or found == own or found.rpartition(".")[0] != own.rpartition(".")[0]:
        pytest.skip("needs another release of this Python")
    packages = os.pathsep.join((str(SOURCE), sysconfig.get_path("purelib")))
    ended = subprocess.run(
        [str(SYSTEMS_PYTHON), "-m", "pytest", "-n", "0", "-p", "no:cacheprovider"]
        + [str(ROOT / "tests/unit" / one) for one in SENSITIVE],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE * 10,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:]
