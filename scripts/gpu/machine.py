"""What a machine has: its GPUs by nvidia-smi, its compiler, its processors."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from gpu.toolkit import NoToolkit, capability

Survey: TypeAlias = dict[str, Any]

ASKED = ("name", "compute_cap", "driver_version", "memory.total", "memory.used", "clocks.max.sm")
PATIENCE = 20


def survey() -> Survey:
    """Return what can be found out, "" or nothing where a program is missing."""
    gpus = parsed(
        said("nvidia-smi", f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader,nounits")
    )
    return {
        "gpus": gpus,
        "nvcc": said("nvcc", "--version").strip().splitlines()[-2:-1],
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2,
        "python": platform.python_version(),
    }


def parsed(text: str) -> list[dict[str, str]]:
    """Return a dictionary for each line of nvidia-smi's that has a compute capability."""
    gpus = []
    for line in text.splitlines():
        values = [part.strip() for part in line.split(",")]
        if len(values) != len(ASKED):
            continue
        gpu = dict(zip(ASKED, values, strict=True))
        try:
            gpu["architecture"] = capability(gpu["compute_cap"])
        except NoToolkit:
            continue
        gpus.append(gpu)
    return gpus


def line(found: Survey) -> str:
    """Return one line on a machine."""
    names = [f"{one['name']} (sm_{one['architecture']})" for one in found["gpus"]] or ["no GPU"]
    return f"{', '.join(names)}; {found['processors']} processors: {found['processor']}"


def said(*command: str) -> str:
    """Return a program's output, "" where it isn't there, fails or hangs."""
    return _run(command)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=PATIENCE, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            return next(line.partition(":")[2].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.machine()
