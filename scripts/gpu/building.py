"""Builds the packed llama.cpp: libllama with CUDA, and llama-server on the same libraries.

    python -m gpu.building SOURCES FOLDER ARCHITECTURE

SOURCES has what `gpu.packing` packed: vendor/llama.cpp, llama_cpp/ and lean.cmake. The libraries
are in FOLDER/bin, to which llama_cpp/lib becomes a link. ARCHITECTURE is CUDA's ("90"), or "cpu"
for a build without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gpu import toolkit

TARGETS = ("llama", "llama-server")
FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    "-DGGML_CCACHE=OFF",
    "-DGGML_NATIVE=ON",
    *(f"-DLLAMA_BUILD_{part}=OFF" for part in ("TESTS", "EXAMPLES", "APP", "UI")),
    "-DLLAMA_BUILD_SERVER=ON",
    "-DLLAMA_BUILD_TOOLS=ON",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DMTMD_VIDEO=OFF",
)
SLOWEST = 12


def main() -> None:
    """Configure and build; print a row on each, and one on the slowest files whatever happened."""
    sources, folder, architecture = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    flags = [*FLAGS, f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={sources / 'lean.cmake'}"]
    try:
        if architecture != "cpu":
            kit = toolkit.find(folder / "links")
            flags += toolkit.cmake_flags(kit, architecture)
            _print({"nvcc": str(kit.nvcc), "driver": kit.driver, "architecture": architecture})
    except toolkit.NoToolkit as error:
        sys.exit(str(error))
    build(sources, folder, flags)


def build(
    sources: Path, folder: Path, flags: Sequence[str], targets: Sequence[str] = TARGETS
) -> None:
    """Run cmake and ninja; exit with what they say where one fails."""
    llama = sources / "vendor/llama.cpp"
    _run(["cmake", "-S", str(llama), "-B", str(folder), "-G", "Ninja", *flags])
    _print({"configured": True, "processors": os.cpu_count()})
    libraries = sources / "llama_cpp/lib"
    libraries.unlink(missing_ok=True)
    libraries.symlink_to((folder / "bin").resolve())
    try:
        # What compiles is used, though another target doesn't.
        _run(["ninja", "-k", "0", "-C", str(folder), *targets])
    finally:
        _print({"slowest": slowest(folder / ".ninja_log")})
    _print({"built": sorted(path.name for path in (folder / "bin").glob("*") if path.is_file())})


def slowest(log: Path) -> list[tuple[float, str]]:
    """Return the seconds and names of the files that took longest, of ninja's log."""
    if not log.exists():
        return []
    times: dict[str, float] = {}
    for line in log.read_text().splitlines():
        parts = line.split("\t")
        if len(parts) == 5:
            begun, ended, _, output, _ = parts
            times[output.rpartition("/")[2]] = (int(ended) - int(begun)) / 1000
    ordered = sorted(((seconds, name) for name, seconds in times.items()), reverse=True)
    return ordered[:SLOWEST]


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed")


def _print(row: dict[str, object]) -> None:
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
