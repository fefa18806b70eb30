"""What one stage of `just test-gpu` does: python -m gpu.work STAGE prints rows of JSON.

Environment: GPU_MODELS, a folder for models; GPU_LLAMA_SERVER, the program, if there is one;
GPU_SMALL, for tiny networks and loads.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from msgspec import to_builtins

from rerankd.cli.devices import build_line, device_lines
from rerankd.engine.llama import binding, ggml

from gpu import memory, scoring, serving, sweep
from gpu.settings import FOLDER, SMALL, model_paths
from support.synthetic_shapes import NETWORKS, small_network, write_network

KINDS = tuple(NETWORKS)


def models() -> None:
    """Write the synthetic models."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for kind, network in NETWORKS.items():
        path = FOLDER / f"{kind}-shape.gguf"
        if not path.exists():
            written = write_network(
                path.with_suffix(".new"), small_network(kind) if SMALL else network
            )
            written.rename(path)
        show({"model": kind, "bytes": path.stat().st_size})


def devices() -> None:
    """List what llama.cpp sees, as `rerankd devices` does."""
    binding.start()
    seen = ggml.survey()
    for line in (build_line(seen), *device_lines(seen)):
        show(to_builtins(line))


def show(row: dict[str, Any]) -> None:
    """Print a row at once."""
    print(json.dumps(row), flush=True)


def tasks() -> dict[str, Callable[[], None]]:
    """Return what each stage runs, by its name, in the order in which they run."""
    paths = model_paths()

    def each(run: Callable[..., dict[str, Any]], *more: Any) -> Callable[[], None]:
        def work() -> None:
            rows = []
            for name, path in paths.items():
                rows.append({"model": name, **run(path, *more)})
                show(rows[-1])
            failed = [row["model"] for row in rows if row.get("ok") is False]
            if failed:
                sys.exit(f"not as expected: {', '.join(failed)}")

        return work

    found = {
        "models": models,
        "devices": devices,
        "scores": each(scoring.compared, "all"),
        "offload": each(memory.planned_and_taken),
        "partial": each(scoring.compared, "half"),
    }
    for kind in KINDS:
        path = FOLDER / f"{kind}-shape.gguf"
        found[f"sweep-{kind}"] = lambda path=path: sweep.steps(path, show)
        found[f"speed-{kind}"] = lambda path=path: serving.against(path, show)
    found["too-large"] = each(memory.in_little_memory)
    return found


def main() -> None:
    """Run the stage named on the command line."""
    tasks()[sys.argv[1]]()


if __name__ == "__main__":
    os.environ.setdefault("RERANKD_LOG_LEVEL", "warning")
    main()
