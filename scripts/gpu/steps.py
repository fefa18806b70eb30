"""Sets how long steps on GPUs are from a report: python -m gpu.steps REPORT.json

Writes app/rerankd/families/gpu_steps.py.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "app/rerankd/families/gpu_steps.py"
ENOUGH = 0.97
"""A shorter step is taken where it has this share of the best speed: it takes less memory."""
ENCODERS, CAUSAL = ("sweep-bert", "sweep-xlmr"), ("sweep-qwen3",)


def main() -> None:
    """Rewrite the file, or exit with what the report lacks."""
    report = json.loads(Path(sys.argv[1]).read_text())
    try:
        FILE.write_text(rewritten(FILE.read_text(), report))
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(f"{FILE}: run `ruff format` and the tests, then look at docs/gpu.md")


def rewritten(text: str, report: Mapping[str, Any]) -> str:
    """Return the module's text with a report's GPU and its steps.

    Raises ValueError for a report without a GPU, of tiny networks or without a sweep.
    """
    gpus, small = report["machine"]["gpus"], report["machine"].get("small")
    if not gpus or small:
        raise ValueError("this report is not of a GPU with real networks")
    values = {
        "MEASURED_ON": json.dumps(gpus[0]["name"]),
        "ENCODER_GPU_STEP": str(step_of(report["stages"], ENCODERS)),
        "CAUSAL_GPU_STEP": str(step_of(report["stages"], CAUSAL)),
    }
    for name, value in values.items():
        text, replaced = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        if replaced != 1:
            raise ValueError(f"{FILE.name} has no {name}")
    return text


def step_of(stages: Mapping[str, Any], names: Iterable[str]) -> int:
    """Return the shortest step that is nearly the fastest, over all networks and loads."""
    speeds: dict[int, float] = {}
    loads = [row for name in names for row in _loads(stages.get(name, {}).get("rows", []))]
    if not loads:
        raise ValueError("the report has no sweep")
    common = set.intersection(*(set(load) for load in loads))
    if not common:
        raise ValueError("no step was measured for every network")
    for load in loads:
        for step in common:
            # Each load counts alike, however fast its network is.
            speeds[step] = speeds.get(step, 0) + load[step] / max(load.values()) / len(loads)
    return min(step for step in common if speeds[step] >= ENOUGH * max(speeds.values()))


def _loads(rows: Iterable[Mapping[str, Any]]) -> list[dict[int, float]]:
    """Return documents a second by step, for each length of documents."""
    found: dict[int, dict[int, float]] = {}
    for row in rows:
        if row.get("documents_s"):
            found.setdefault(row["words"], {})[row["step"]] = row["documents_s"]
    return list(found.values())


if __name__ == "__main__":
    main()
