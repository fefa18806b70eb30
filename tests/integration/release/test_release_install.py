"""dist/ as `just release` leaves it: installed from where no index and no compiler is in reach.

`just test-release` runs this file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from rerankd import __version__

from support.binary_file import QUERY, require_panda, serving
from support.places import ROOT, files_in

DIST = ROOT / "dist"
MACHINE = os.uname().machine
PATIENCE = 300.0
OFFLINE = ("--no-index", "--find-links", str(DIST))
SYSTEM = {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libpthread.so.0"}
SYSTEM |= {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
"""What PEP 600's profiles promise, as far as the engine asks for it."""


@pytest.fixture(scope="session")
def engine() -> Path:
    (found,) = files_in(DIST, f"llama_cpp_python-*_{MACHINE}.whl")
    return found


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment of its own with rerankd in it, and nothing else in reach."""
    home = tmp_path_factory.mktemp("home")
    variables = {
        "HOME": str(home),
        "PATH": str(home / "venv/bin"),
        "PIP_CONFIG_FILE": os.devnull,
        "RERANKD_LOG_FORMAT": "human",
    }
    subprocess.run(
        [sys.executable, "-m", "venv", home / "venv"], check=True, env={**variables, "PATH": ""}
    )
    for tool in ("cc", "c++", "gcc", "g++", "clang", "cmake", "ninja", "make", "git"):
        assert not shutil.which(tool, path=variables["PATH"])
    pip(variables, "install", *OFFLINE, "rerankd")
    return variables


def pip(variables: dict[str, str], command: str, *words: str) -> str:
    """Run a pip command that must succeed; return what it printed."""
    done = subprocess.run(
        [f"{variables['PATH']}/python", "-m", "pip", command, *words],
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installation_answers(environment: dict[str, str], engine: Path) -> None:
    """The README's question and scores, with the engine of the release and no other library."""
    command = [f"{environment['PATH']}/rerankd", "serve", "--port", "0"]
    with serving(command, environment) as server:
        require_panda(server.panda())
        mapped = Path(f"/proc/{server.process.pid}/maps").read_text("utf-8")
    version = str(parse_wheel_filename(engine.name)[1])
    installed = {one["name"]: one["version"] for one in json.loads(_listed(environment))}

    libraries = set(re.findall(r" (/\S+/lib(?:llama|ggml|gomp)\S*)$", mapped, re.MULTILINE))
    assert len({Path(one).name for one in libraries}) == len(libraries) >= 4
    assert all(one.startswith(environment["HOME"]) for one in libraries)
    assert installed["rerankd"] == __version__
    assert {installed.get(name) for name in ("llama-cpp-python", "llama_cpp_python")} >= {version}
    assert pip(environment, "check") == "No broken requirements found.\n"


def _listed(environment: dict[str, str]) -> str:
    return pip(environment, "list", "--format", "json", "--disable-pip-version-check")


def test_the_command_ranks_with_kernels_for_this_processor(environment: dict[str, str]) -> None:
    """A plugin is found beside the libraries, wherever that is."""
    done = subprocess.run(
        [f"{environment['PATH']}/rerankd", "rank", QUERY],
        env=environment,
        input="hello\nthe panda is a bear\n",
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[0].endswith('"line":2}')


def test_requirements_are_met_with_their_hashes(environment: dict[str, str]) -> None:
    """The exact versions of the lock, from the folder of the file."""
    said = pip(
        *(environment, "install", "--no-index", "--dry-run", "--ignore-installed"),
        *("--requirement", str(DIST / "requirements.txt")),
    )

    assert f"rerankd-{__version__}" in said
    assert "llama-cpp-python-" in said.replace("_", "-")


def test_every_sum_is_right() -> None:
    """And every file that is published has one."""
    listed = dict(
        reversed(line.split("  ")) for line in (DIST / "SHA256SUMS").read_text().splitlines()
    )

    for name, sha256 in listed.items():
        assert hashlib.sha256((DIST / name).read_bytes()).hexdigest() == sha256
    assert {f"rerankd-{__version__}-linux-{MACHINE}", "requirements.txt"} <= set(listed)
    assert {f"rerankd-{__version__}{end}" for end in ("-py3-none-any.whl", ".tar.gz")} <= set(
        listed
    )
    assert {f"rerankd-{__version__}{end}" for end in (".cdx.json", "-notes.md")} <= set(listed)


@pytest.fixture(scope="session")
def libraries(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What readelf says of each library in the engine wheel."""
    folder = tmp_path_factory.mktemp("engine")
    with zipfile.ZipFile(engine) as wheel:
        wheel.extractall(folder)
    return {
        path.name: subprocess.run(
            ["readelf", "--wide", "--dynamic", "--version-info", path],  # noqa: S607
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for path in files_in(folder, "**/*.so*")
    }


def test_the_tag_is_no_older_than_a_symbol(engine: Path, libraries: dict[str, str]) -> None:
    """manylinux_2_N promises that glibc 2.N has every symbol; the newest one decides."""
    needed = {
        Version(one)
        for said in libraries.values()
        for one in re.findall(r"Name: GLIBC_([\d.]+)", said)
    }
    (tag,) = parse_wheel_filename(engine.name)[3]

    assert (tag.interpreter, tag.abi) == ("py3", "none")
    _, major, minor, machine = tag.platform.split("_", 3)
    assert machine == MACHINE
    assert Version(f"{major}.{minor}") >= max(needed)


def test_libraries_ask_for_each_other_and_for_what_every_system_has(
    libraries: dict[str, str],
) -> None:
    """Above all not for libgomp, which comes with a compiler."""
    for name, said in libraries.items():
        needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", said))
        assert needed <= SYSTEM | set(libraries), name
    assert [name for name in libraries if name.startswith("libgomp-")]
    assert len([name for name in libraries if name.startswith("libggml-cpu-")]) > 1


def test_the_bill_lists_what_the_files_carry_of_the_system() -> None:
    """libgomp in the wheel, the C library in the binary, and the patches of the engine."""
    found = json.loads((DIST / f"rerankd-{__version__}.cdx.json").read_text("utf-8"))
    names = {one["name"]: one for one in found["components"]}

    assert any(name.startswith(("libgomp", "libc6", "glibc", "libc.so")) for name in names)
    assert names["llama-cpp-python"]["pedigree"]["patches"]
    assert {"cpython", "numpy", "opentelemetry-sdk"} <= set(names)
    assert {path.name for path in files_in(ROOT, "models/*.gguf")} <= set(names)
