"""Builds for another architecture: scripts/cross.sh, and what binary/pack.py holds a bundle to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.places import ROOT

ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00"
X86_64, AARCH64, RISC_V = (62).to_bytes(2, "little"), (183).to_bytes(2, "little"), b"\xf3\x00"


def run(code: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    """Run shell code with both scripts sourced."""
    return subprocess.run(
        ["/usr/bin/env", "bash", "-c", f". scripts/environment.sh; . scripts/cross.sh; {code}"],
        cwd=ROOT,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def require_one_architecture(*paths: Path) -> subprocess.CompletedProcess[str]:
    """Ask pack.py, which runs in an environment of its own and so is no module here."""
    code = (
        "import sys; sys.path.insert(0, 'binary'); import pack; from pathlib import Path; "
        "print(pack.require_one_architecture(map(Path, sys.argv[1:])))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_what_is_missing_is_named_by_its_package() -> None:
    done = run("require_commands bash:bash g++-gone:gone-g++ qemu-user:qemu-gone")

    assert done.returncode == 1
    assert done.stderr == "missing (Debian: apt install g++-gone qemu-user)\n"


def test_an_architecture_that_is_not_built_for_is_refused() -> None:
    done = run("install_cross_engine sparc64")

    assert done.returncode == 2
    assert "builds for aarch64" in done.stderr
    assert "not for sparc64" in done.stderr


def test_packages_are_taken_from_the_lock_with_their_hashes() -> None:
    """Whole entries, and not those whose names begin alike."""
    said = run("select_packages httpx").stdout

    assert said.startswith("httpx==")
    assert said.count("==") == 1
    assert "--hash=sha256:" in said


@pytest.mark.parametrize(("machine", "name"), [(X86_64, "x86_64"), (AARCH64, "aarch64")])
def test_a_bundle_is_of_one_architecture(tmp_path: Path, machine: bytes, name: str) -> None:
    for file in ("launcher", "one.so"):
        (tmp_path / file).write_bytes(ELF + machine)
    (tmp_path / "text").write_text("text")

    done = require_one_architecture(*sorted(tmp_path.iterdir()), tmp_path)

    assert done.stdout == f"{name}\n"


@pytest.mark.parametrize("other", [AARCH64, RISC_V])
def test_a_library_of_another_architecture_stops_the_build(tmp_path: Path, other: bytes) -> None:
    """As where the build machine's own would slip into a bundle for another one."""
    (tmp_path / "launcher").write_bytes(ELF + X86_64)
    (tmp_path / "other.so").write_bytes(ELF + other)

    done = require_one_architecture(tmp_path / "launcher", tmp_path / "other.so")

    assert done.returncode == 1
    assert "error: not of one known architecture" in done.stderr
    assert str(tmp_path / "other.so") in done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the scripts on an x86-64 machine that has only the tools put there."""
    for folder in ("bin", "scripts", "dist"):
        (tmp_path / folder).mkdir()
    for name in ("environment.sh", "cross.sh"):
        (tmp_path / "scripts" / name).write_bytes((ROOT / "scripts" / name).read_bytes())
    put_program(tmp_path / "bin/uname", "echo x86_64")
    return tmp_path


def put_program(file: Path, code: str = "") -> None:
    file.write_text(f"#!/bin/sh\n{code}\n")
    file.chmod(0o755)


def architectures(place: Path, asked: str) -> list[str]:
    """Return what a function of the scripts lists there."""
    code = f". scripts/environment.sh; . scripts/cross.sh; PATH=$PWD/bin; {asked}"
    done = subprocess.run(
        ["/usr/bin/env", "bash", "-c", code],
        cwd=place,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


WHEELS = "wheel_architectures 1+rerankd.2"


def test_a_release_makes_wheels_for_what_can_be_compiled_for(place: Path) -> None:
    put_program(place / "bin/aarch64-linux-gnu-g++")
    assert architectures(place, WHEELS) == ["x86_64", "aarch64"]


def test_without_a_cross_compiler_a_release_is_for_this_machine(place: Path) -> None:
    put_program(place / "bin/qemu-aarch64")
    assert architectures(place, WHEELS) == ["x86_64"]
    assert architectures(place, "binary_architectures") == ["x86_64"]


@pytest.mark.parametrize(
    ("version", "made"), [("1+rerankd.2", ["x86_64"]), ("1+rerankd.1", ["x86_64", "aarch64"])]
)
def test_a_wheel_that_was_made_elsewhere_is_kept(
    place: Path, version: str, made: list[str]
) -> None:
    """One of the same sources; another version's is replaced."""
    put_program(place / "bin/aarch64-linux-gnu-g++")
    (place / f"dist/llama_cpp_python-{version}-py3-none-manylinux_2_34_aarch64.whl").touch()
    assert architectures(place, WHEELS) == made


def test_a_binary_that_was_made_here_is_never_left_as_it_was(place: Path) -> None:
    """Without the tools as well: the build then stops, and no old binary is released."""
    (place / "dist/rerankd-aarch64").touch()
    (place / "build/aarch64/binary").mkdir(parents=True)
    (place / "build/aarch64/binary/made").touch()
    assert architectures(place, "binary_architectures") == ["x86_64", "aarch64"]


@pytest.mark.parametrize("there", [True, False])
def test_another_machines_binary_is_kept_and_none_is_begun(place: Path, *, there: bool) -> None:
    """Emulated, its making takes long: it is asked for by its own recipe."""
    for tool in ("aarch64-linux-gnu-g++", "qemu-aarch64"):
        put_program(place / "bin" / tool)
    if there:
        (place / "dist/rerankd-aarch64").touch()
    assert architectures(place, "binary_architectures") == ["x86_64"]


@pytest.mark.parametrize(("python", "calls"), [("python3.11", 1), ("python3.12", 0)])
def test_modules_are_compiled_by_a_python_of_the_same_version(
    place: Path, python: str, calls: int
) -> None:
    """Another version's bytecode is of no use, and what doesn't compile stops no build."""
    (place / "build/cross-builder/bin").mkdir(parents=True)
    answer = f'case "$*" in -c*) echo python3.11 ;; *) echo "$*" >> {place}/calls; exit 1 ;; esac'
    put_program(place / "build/cross-builder/bin/python", answer)

    assert architectures(place, f"compile_modules {python} one two; echo done") == ["done"]

    file = place / "calls"
    said = file.read_text("utf-8").splitlines() if file.exists() else []
    assert said == ["-m compileall -q -j 0 one two"] * calls


def test_questions_about_files_are_answered_for_their_own_architecture(place: Path) -> None:
    """Libraries that are found later stop nothing, and none of this machine's is offered."""
    there = place / "build/aarch64"
    loader = there / "root/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1"
    loader.parent.mkdir(parents=True)
    loader.touch()
    put_program(place / "bin/qemu-aarch64", 'printf "%s\\n" "$@"')
    for name in ("objcopy", "readelf", "strip"):
        put_program(place / f"bin/aarch64-linux-gnu-{name}")
    for name in ("mkdir", "ln", "chmod", "cat"):
        (place / "bin" / name).symlink_to(f"/bin/{name}")

    ask = "install_cross_tools aarch64; PATH=$PWD/build/aarch64/tools:$PATH"

    said = architectures(place, f"{ask}; ldd one.so")
    assert said == [
        *("-E", "LD_TRACE_LOADED_OBJECTS=1", "-L", str(there / "root"), str(loader), "one.so")
    ]
    assert architectures(place, f"{ask}; ldconfig -p") == []
