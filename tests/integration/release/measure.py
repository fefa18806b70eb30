"""Measures an installation from dist/: `just measure-release [ROOT]`, ROOT being another system's.

From an empty environment to the first answer, without an index or a compiler. Prints JSON: medians
over some rounds with their range, in seconds, and in seconds of processor time for what installs.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.first_answer import first_answer, summary
from support.places import ROOT

ROUNDS = 3


def timed(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command that must succeed; return its seconds and its processor's."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env=environment, check=True)
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def round_of(options: Sequence[str], within: Sequence[str], python: str) -> dict[str, float]:
    """Install once and ask once; return what each part took. `within` enters the other system."""
    environment = {
        "HOME": "/release",
        "PATH": "/usr/bin:/bin:/usr/sbin",
        "PIP_CONFIG_FILE": os.devnull,
    }
    place = "/release" if within else str(ROOT / "dist")
    venv = f"{place}/measured"
    pip = [f"{venv}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    made = timed([*within, python, "-m", "venv", "--clear", venv], environment)
    sources = ["--no-index", "--find-links", place, *options, "rerankd"]
    installed = timed([*within, *pip, *sources], environment)
    serve = [*within, f"{venv}/bin/rerankd", "serve", "--state-dir", f"{venv}/state"]
    answered, _ = first_answer(serve, environment)
    return {
        "venv": made[0],
        "pip": installed[0],
        "first answer": answered,
        "all": made[0] + installed[0] + answered,
        "processor, venv and pip": made[1] + installed[1],
    }


def measured(within: Sequence[str], python: str) -> dict[str, Any]:
    """Install with and without compiling modules, in turn."""
    kinds: dict[str, list[str]] = {"plain": [], "--no-compile": ["--no-compile"]}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, options in kinds.items():
            rounds[name].append(round_of(options, within, python))
    return {
        name: {part: summary([one[part] for one in found]) for part in found[0]}
        for name, found in rounds.items()
    }


def main() -> None:
    """Measure here, or in the root that is named: the release is copied there for the time."""
    if not sys.argv[1:]:
        try:
            print(json.dumps(measured([], sys.executable), indent=1))
        finally:
            shutil.rmtree(ROOT / "dist/measured", ignore_errors=True)
        return
    (root,) = sys.argv[1:]
    # Not into a folder that is there already: it is deleted afterwards.
    with tempfile.TemporaryDirectory(prefix="release-", dir=root) as folder:
        shutil.copytree(ROOT / "dist", folder, dirs_exist_ok=True)
        Path(root, "release").symlink_to(Path(folder).name)
        try:
            print(json.dumps(measured(["chroot", root], "python3"), indent=1))
        finally:
            Path(root, "release").unlink()


if __name__ == "__main__":
    main()
