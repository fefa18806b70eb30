"""The report: one JSON file, and the same as tables in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu import machine
from gpu.stages import Outcome


def write(folder: Path, found: machine.Survey, outcomes: Mapping[str, Outcome]) -> None:
    """Write gpu.json and gpu.md, whole or not at all."""
    whole = {"machine": found, "stages": {name: asdict(one) for name, one in outcomes.items()}}
    _replace(folder / "gpu.json", json.dumps(whole, indent=1) + "\n")
    _replace(folder / "gpu.md", markdown(found, outcomes))


def markdown(found: machine.Survey, outcomes: Mapping[str, Outcome]) -> str:
    """Return a table of the stages, then one for each stage that has rows."""
    parts = [f"# GPU report\n\n{machine.line(found)}\n"]
    if found.get("small"):
        parts.append("Tiny networks and loads: these figures say nothing about speed.\n")
    summary = [
        {"stage": name, "result": "ok" if one.ok else one.error, "seconds": one.seconds}
        for name, one in outcomes.items()
    ]
    parts.append(table(summary))
    for name, one in outcomes.items():
        if one.rows:
            parts.append(f"\n## {name}\n\n{table(one.rows)}")
    return "\n".join(parts)


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as a table with a column for every key."""
    listed = list(rows)
    keys = list(dict.fromkeys(key for row in listed for key in row))
    lines = [keys, ["---"] * len(keys)]
    lines += [[_cell(row.get(key, "")) for key in keys] for row in listed]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)
