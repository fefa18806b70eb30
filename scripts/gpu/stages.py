"""The stages of `just test-gpu`: each is a process of its own, with a time limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LEAST = 5.0
"""Seconds under which no stage is started."""


@dataclass(frozen=True)
class Stage:
    """One thing to find out: `python -m gpu.work NAME` prints rows, JSON objects, one a line."""

    name: str
    seconds: float
    """What it may take at most."""
    command: Sequence[str] = ()
    """What to run instead."""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What a stage came to; rows are kept that it printed before it failed."""

    ok: bool
    seconds: float
    rows: list[dict[str, Any]]
    error: str = ""


def run_stages(
    stages: Sequence[Stage],
    folder: Path,
    total: float,
    save: Callable[[dict[str, Outcome]], None],
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Outcome]:
    """Run stages in their order within `total` seconds, and save all outcomes after each.

    A stage that fails or takes too long is noted, and the next one runs.
    """
    end = clock() + total
    outcomes: dict[str, Outcome] = {}
    for stage in stages:
        left = end - clock()
        if left < LEAST:
            outcomes[stage.name] = Outcome(ok=False, seconds=0, rows=[], error="no time was left")
        else:
            print(f"== {stage.name} (at most {min(left, stage.seconds):.0f} s)", flush=True)
            outcomes[stage.name] = run_stage(stage, folder, min(left, stage.seconds))
            print(_line(outcomes[stage.name]), flush=True)
        save(outcomes)
    return outcomes


def run_stage(stage: Stage, folder: Path, limit: float) -> Outcome:
    """Run one stage for at most `limit` seconds; `folder` gets files with its output."""
    command = [*stage.command] or [sys.executable, "-m", "gpu.work", stage.name]
    folder.mkdir(parents=True, exist_ok=True)
    rows, log = folder / f"{stage.name}.jsonl", folder / f"{stage.name}.log"
    begun = time.monotonic()
    with rows.open("wb") as out, log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=errors,
            env={**os.environ, **stage.variables},
            start_new_session=True,  # so that servers it started end with it
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    seconds = time.monotonic() - begun
    error = ""
    if code is None:
        error = f"took longer than {limit:.0f} s"
    elif code:
        error = f"ended with {code}: {_last_line(log)}"
    return Outcome(ok=not error, seconds=round(seconds, 1), rows=_rows(rows), error=error)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the stage's session: what it started may outlive it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the whole JSON objects among the lines."""
    found = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no message"


def _line(outcome: Outcome) -> str:
    said = f"   {'done' if outcome.ok else 'FAILED'} in {outcome.seconds:.0f} s"
    said += f", {len(outcome.rows)} rows"
    return said if outcome.ok else f"{said}: {outcome.error}"
