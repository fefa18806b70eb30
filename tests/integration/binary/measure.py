"""Measures the single binary: size, start to first answer, idle memory. `just measure-binary`.

Cold is a first start, which unpacks; files that were read before are in the page cache either way.
Prints JSON, medians over some starts with their range.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from support.binary_file import FILE
from support.first_answer import first_answer, summary
from support.places import SOURCE, files_in

STARTS = 7


def measured(place: Path) -> dict[str, Any]:
    """Start the binary cold and warm and this checkout's installation, in turn."""
    serve = ["serve", "--state-dir", str(place / "state")]
    binary = {"HOME": str(place), "PATH": os.environ["PATH"]}
    unpacked = place / ".cache/rerankd"
    starts: dict[str, list[tuple[float, float]]] = {"cold": [], "warm": [], "installed": []}
    for _ in range(STARTS):
        shutil.rmtree(unpacked, ignore_errors=True)
        for name in ("cold", "warm"):
            starts[name].append(first_answer([str(FILE), *serve], binary))
        python = [sys.executable, "-m", "rerankd", *serve]
        starts["installed"].append(first_answer(python, {**binary, "PYTHONPATH": str(SOURCE)}))
    (program,) = unpacked.iterdir()
    found = files_in(program, "**/*")
    files = [path for path in found if path.is_file() and not path.is_symlink()]
    return {
        "megabytes": round(FILE.stat().st_size / 1e6, 1),
        "unpacked_megabytes": round(sum(path.stat().st_size for path in files) / 1e6, 1),
        "first_answer_seconds": {
            name: summary([s for s, _ in all_]) for name, all_ in starts.items()
        },
        "idle_megabytes": {name: summary([m for _, m in all_]) for name, all_ in starts.items()},
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(Path(folder)), indent=1))
