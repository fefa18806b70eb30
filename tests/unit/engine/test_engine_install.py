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
PORTABLE = dict(
    re.findall(r'^(\w+)="(.+)"$', SCRIPT.with_name("portable.env").read_text(), re.MULTILINE)
)
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
    for name in PORTABLE["CPU_VARIANTS"].split()
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
    lock: Path, variants: str = "", *, exits: int = 0, stderr: int = subprocess.PIPE
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
        ("all", PORTABLE["CPU_VARIANTS"].split()),
    ],
)
def test_only_what_is_named_is_compiled(lock: Path, variants: str, left: list[str]) -> None:
    """Kernels become plugins; what isn't a variant's line stays, and so do the caller's flags."""
    assert install(lock, variants).returncode == 0

    seen = lock.with_name("seen").read_text()
    assert sorted(re.findall(r"backend_variant\((\w+)[ )]", seen)) == sorted(left)
    assert seen.startswith("".join(LIST.splitlines(keepends=True)[:3]))
    assert flags(lock)[2:] == [*PORTABLE["CPU_FLAGS"].split(), "-DX=1"]


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


def test_llama_cpp_is_compiled_lean(lock: Path) -> None:
    """Without the multimodal library, unless a flag of the caller's, later in line, asks for it."""
    assert install(lock).returncode == 0

    lean, included = flags(lock)[:2]
    assert lean == "-DLLAVA_BUILD=OFF"
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
