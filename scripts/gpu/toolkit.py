"""Finds CUDA's compiler and libraries, also where pip installed a part of them, for cmake."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

NVCC = ("/usr/local/cuda/bin/nvcc", "/opt/cuda/bin/nvcc")
DRIVERS = (
    "/usr/local/cuda/lib64/stubs",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/lib64",
    "/usr/lib/wsl/lib",
)
"""Where libcuda is: the toolkit's stub to link with, or the driver's own."""
SITES = ("/opt/*/.venv/lib/python3*/site-packages", "/usr/local/lib/python3*/*-packages")
"""Where pip may have installed NVIDIA's libraries, beside this Python's own folders."""


class NoToolkit(Exception):
    """Something to build with is missing."""


@dataclass(frozen=True)
class Toolkit:
    """What cmake is told."""

    nvcc: Path
    headers: Path | None
    """The folder with cuBLAS's headers, where it isn't the compiler's own."""
    libraries: dict[str, Path]
    """Libraries in other folders than the compiler's, by the names cmake's module has for them."""
    runpaths: tuple[Path, ...]
    """Folders that programs look for libraries in when they run."""
    driver: bool
    """Whether there is a libcuda to link with."""


def find(links: Path, sites: Sequence[str] = SITES, nvccs: Sequence[str] = NVCC) -> Toolkit:
    """Look for nvcc, cuBLAS and the driver; put links to those without a plain name into `links`.

    Raises NoToolkit, with what is missing.
    """
    named = shutil.which("nvcc")
    found = next((Path(one) for one in (*nvccs, named) if one and Path(one).exists()), None)
    if not found:
        raise NoToolkit("there is no nvcc, CUDA's compiler")
    nvcc = found.resolve()
    root = nvcc.parent.parent
    libraries: dict[str, Path] = {}
    headers = None
    runpaths: list[Path] = []
    if not (root / "include/cublas_v2.h").exists():
        headers = _first(_installed(sites, "include/cublas_v2.h"))
        if not headers:
            raise NoToolkit(f"there is no cublas_v2.h in {root} nor in a folder of pip's")
        runpaths.append(headers.parent.parent / "lib")
        for name in ("cublas", "cublasLt"):
            libraries[f"CUDA_{name}_LIBRARY"] = _linked(links, name, (runpaths[0],))
    driver = _library("cuda", [root / "lib64/stubs", *map(Path, DRIVERS)])
    if driver and driver.name != "libcuda.so":
        libraries["CUDA_cuda_driver_LIBRARY"] = _link(links, "cuda", driver)
    elif driver:
        libraries["CUDA_cuda_driver_LIBRARY"] = driver
    return Toolkit(
        nvcc, headers.parent if headers else None, libraries, tuple(runpaths), driver is not None
    )


def cmake_flags(kit: Toolkit, architecture: str) -> list[str]:
    """Return what cmake needs to compile for one architecture ("90" of capability 9.0)."""
    flags = [
        "-DGGML_CUDA=ON",
        f"-DCMAKE_CUDA_COMPILER={kit.nvcc}",
        f"-DCMAKE_CUDA_ARCHITECTURES={architecture}-real",
        "-DGGML_CUDA_FA_ALL_QUANTS=OFF",
        "-DGGML_CUDA_COMPRESSION_MODE=none",
        "-DGGML_CUDA_NCCL=OFF",
        f"-DGGML_CUDA_NO_VMM={'OFF' if kit.driver else 'ON'}",
        *(f"-D{name}={path}" for name, path in kit.libraries.items()),
    ]
    if kit.headers:
        flags.append(f"-DCMAKE_CUDA_FLAGS=-I{kit.headers}")
    if kit.runpaths:
        flags.append(f"-DCMAKE_BUILD_RPATH={';'.join(map(str, kit.runpaths))}")
    return flags


def capability(text: str) -> str:
    """Return the architecture of what nvidia-smi calls a compute capability: "90" of "9.0".

    Raises NoToolkit for anything else.
    """
    found = re.fullmatch(r"(\d+)\.(\d)", text.strip())
    if not found:
        raise NoToolkit(f"nvidia-smi says no compute capability: {text!r}")
    return found[1] + found[2]


def _installed(sites: Sequence[str], inside: str) -> Iterable[Path]:
    own = [Path(one) for one in sys.path if one]
    other = shutil.which("python3")
    if other:
        code = "import sys; print(*sys.path, sep='\\n')"
        said = subprocess.run([other, "-c", code], capture_output=True, text=True, check=False)
        own += [Path(line) for line in said.stdout.splitlines() if line]
    for pattern in sites:
        own += sorted(Path("/").glob(pattern.lstrip("/")))
    for site in dict.fromkeys(own):
        yield from sorted(site.glob(f"nvidia/c*/{inside}"))


def _first(paths: Iterable[Path]) -> Path | None:
    return next(iter(paths), None)


def _library(name: str, folders: Iterable[Path]) -> Path | None:
    for folder in folders:
        for path in (folder / f"lib{name}.so", *sorted(folder.glob(f"lib{name}.so.*"))):
            if path.exists():
                return path
    return None


def _linked(links: Path, name: str, folders: Iterable[Path]) -> Path:
    found = _library(name, folders)
    if not found:
        raise NoToolkit(f"there is no lib{name} beside its headers")
    return _link(links, name, found)


def _link(links: Path, name: str, target: Path) -> Path:
    """Return a link by the name that linkers look for."""
    links.mkdir(parents=True, exist_ok=True)
    link = links / f"lib{name}.so"
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    return link
