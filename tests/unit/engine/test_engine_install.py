"""`install.sh`: what it has compiled, and what it shows meanwhile."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from support.places import ROOT

SCRIPT = ROOT / "app/rerankd/engine/patches/install.sh"
OTHER = "x86_64" if os.uname().machine == "aarch64" else "aarch64"


def portable(architecture: str) -> tuple[list[str], list[str]]:
    """Return the variants of an architecture, and the flags of builds with them."""
    code = 'architecture=$1; . "$2"; echo $CPU_VARIANTS; echo $CPU_FLAGS'
    said = subprocess.run(
        [
            "/usr/bin/env",
            "bash",
            "-euc",
            code,
            "bash",
            architecture,
            SCRIPT.with_name("portable.env"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    variants, flags = said.stdout.splitlines()
    return variants.split(), flags.split()


CPU_VARIANTS, CPU_FLAGS = portable(os.uname().machine)
LIST = """\
function(ggml_add_cpu_backend_variant tag_name)
    ggml_add_cpu_backend_variant_impl(${tag_name})
endfunction()
        ggml_add_cpu_backend_variant(x64)
        ggml_add_cpu_backend_variant(haswell            SSE42 AVX)
            ggml_add_cpu_backend_variant(zen4           SSE42 AVX512)
        ggml_add_cpu_backend_variant(apple_m1 DOTPROD)
""" + "".join(
    f"        ggml_add_cpu_backend_variant({name} AVX)\n"
    for architecture in ("x86_64", "aarch64")
    for name in portable(architecture)[0]
    if name not in {"haswell", "zen4"}
)
PIP = """\
#!/bin/sh
# pip in name: "downloads" what lies here, and keeps what it is told to install.
case "$3" in
download) for folder; do :; done; cp {sources} "$folder" ;;
install)
    for folder; do :; done
    cp "$folder/vendor/llama.cpp/ggml/src/CMakeLists.txt" {seen}
    echo "$CMAKE_ARGS" > {seen}.flags
    echo "$*" > {seen}.words
    cat "$folder/lean.cmake" > {seen}.cmake
    cat {output}
    exit "$PIP_EXITS"
    ;;
esac
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock, and beside it an interpreter whose pip gives made sources."""
    listed = tmp_path / "sources/llama_cpp_python/vendor/llama.cpp/ggml/src/CMakeLists.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text(LIST)
    archive = tmp_path / "llama_cpp_python-0.0.0.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "sources/llama_cpp_python", "llama_cpp_python")
    python = tmp_path / "python"
    output = tmp_path / "output"
    output.write_text("")
    python.write_text(PIP.format(sources=archive, seen=tmp_path / "seen", output=output))
    python.chmod(0o755)
    path = tmp_path / "lock.txt"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    path.write_text(f"llama-cpp-python==0.0.0 \\\n    --hash=sha256:{digest}\n")
    return path


def install(
    lock: Path, variants: str = "", *, exits: int = 0, stderr: int = subprocess.PIPE, **more: str
) -> subprocess.CompletedProcess[str]:
    """Install with some variants; without the patches, which are for the real sources."""
    return subprocess.run(
        [SCRIPT, lock.with_name("python"), lock],
        env={
            **os.environ,
            "RERANKD_PLAIN_ENGINE": "1",
            "RERANKD_CPU_VARIANTS": variants,
            "CMAKE_ARGS": "-DX=1",
            "PIP_EXITS": str(exits),
            **more,
        },
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=False,
    )


def flags(lock: Path) -> list[str]:
    """Return the flags that reached CMake."""
    return lock.with_name("seen.flags").read_text().split()


@pytest.mark.parametrize(
    ("variants", "left"),
    [
        ("zen4 x64", ["x64", "zen4"]),
        ("haswell", ["haswell"]),
        ("all", CPU_VARIANTS),
    ],
)
def test_only_what_is_named_is_compiled(lock: Path, variants: str, left: list[str]) -> None:
    """Kernels become plugins; what isn't a variant's line stays, and so do the caller's flags."""
    assert install(lock, variants).returncode == 0

    seen = lock.with_name("seen").read_text()
    assert sorted(re.findall(r"backend_variant\(([\w.]+)[ )]", seen)) == sorted(left)
    assert seen.startswith("".join(LIST.splitlines(keepends=True)[:3]))
    assert flags(lock)[2:] == [*CPU_FLAGS, "-DX=1"]


def test_another_architecture_is_cross_compiled_into_a_folder(lock: Path) -> None:
    """With its own variants and its own compiler, and nothing goes into the environment."""
    compiler = lock.with_name("bin") / f"{OTHER}-linux-gnu-g++"
    compiler.parent.mkdir()
    compiler.touch(0o755)
    folder = lock.with_name("an engine")

    done = install(
        lock,
        "all",
        RERANKD_ENGINE_ARCHITECTURE=OTHER,
        RERANKD_ENGINE_TARGET=str(folder),
        PATH=f"{compiler.parent}:{os.environ['PATH']}",
    )

    assert done.returncode == 0, done.stderr
    seen = lock.with_name("seen").read_text()
    assert re.findall(r"backend_variant\(([\w.]+)[ )]", seen) == portable(OTHER)[0]
    assert f"--upgrade --target {folder} " in lock.with_name("seen.words").read_text()
    assert flags(lock)[-5:] == [
        "-DCMAKE_SYSTEM_NAME=Linux",
        f"-DCMAKE_SYSTEM_PROCESSOR={OTHER}",
        f"-DCMAKE_C_COMPILER={OTHER}-linux-gnu-gcc",
        f"-DCMAKE_CXX_COMPILER={OTHER}-linux-gnu-g++",
        "-DX=1",
    ]


def test_without_the_other_compiler_it_says_what_to_install(lock: Path) -> None:
    done = install(lock, "all", RERANKD_ENGINE_ARCHITECTURE="mips64")

    assert done.returncode == 1
    assert (
        "there is no mips64-linux-gnu-g++ (Debian and Ubuntu: apt install g++-mips64" in done.stderr
    )


def test_every_architectures_variants_are_its_own() -> None:
    """The plainest comes first: a processor that knows nothing else runs that."""
    ours, theirs = portable("x86_64")[0], portable("aarch64")[0]

    assert (ours[0], theirs[0]) == ("sse42", "armv8.0_1")
    assert all(name.startswith("armv") for name in theirs)
    assert not set(ours) & set(theirs)


def test_with_nothing_named_it_is_compiled_for_this_machine(lock: Path) -> None:
    """llama.cpp's own list and the caller's flags reach CMake unchanged."""
    assert install(lock).returncode == 0

    assert lock.with_name("seen").read_text() == LIST
    assert flags(lock)[2:] == ["-DX=1"]


def test_a_variant_that_is_gone_stops_the_build(lock: Path) -> None:
    """A new llama.cpp may call it otherwise; the binary would be slow there, and nobody told."""
    done = install(lock, "haswell zen5")

    assert done.returncode == 1
    assert "llama.cpp has no CPU variant zen5" in done.stderr
    assert not lock.with_name("seen").exists()


@pytest.mark.parametrize(("asked", "built"), [("", "ON"), ("1", "ON"), ("0", "OFF")])
def test_llama_cpp_is_compiled_lean(lock: Path, asked: str, built: str) -> None:
    """With the library for pictures, unless a variable leaves it out."""
    assert install(lock, RERANKD_PICTURES=asked).returncode == 0

    pictures, included = flags(lock)[:2]
    assert pictures == f"-DLLAVA_BUILD={built}"
    assert re.fullmatch(r"-DCMAKE_PROJECT_llama\.cpp_INCLUDE=/.*/lean\.cmake", included)
    assert lock.with_name("seen.cmake").read_text() == SCRIPT.with_name("lean.cmake").read_text()


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("  [1/80] Building A\n  [40/80] Building B\n  [80/80] Linking C\n", [1, 50, 100]),
        ("  [  7%] Building A\n  [100%] Linking C\n", [7, 100]),
        ("  -- Configuring done\n", []),
    ],
    ids=["ninja", "make", "neither"],
)
def test_a_terminal_shows_how_far_the_compiler_is(
    lock: Path, output: str, shown: list[int]
) -> None:
    """On one line, and nothing else of what the build prints."""
    lock.with_name("output").write_text(output)
    ours, theirs = os.openpty()
    assert install(lock, stderr=theirs).returncode == 0
    seen = os.read(ours, 4096) if shown else b""
    os.close(theirs)
    os.close(ours)

    assert seen.decode() == "".join(f"\rcompiling llama.cpp: {one:3} %" for one in shown) + (
        "\r\n" if shown else ""
    )


def test_without_a_terminal_a_quick_build_says_nothing(lock: Path) -> None:
    lock.with_name("output").write_text("  [1/2] Building A\n  [2/2] Linking B\n")

    assert install(lock).stderr == ""


def test_a_build_that_fails_shows_its_end(lock: Path) -> None:
    """The compiler's message is there without a second run."""
    lock.with_name("output").write_text("old\n" * 100 + "a.cpp:1:1: error: no such thing\n")

    done = install(lock, exits=1)

    assert done.returncode == 1
    *end, last = done.stderr.splitlines()
    assert end[-1] == "a.cpp:1:1: error: no such thing"
    assert len(end) < 100
    assert last.startswith("llama.cpp was not compiled")
