"""Measures a GPU in stages: python -m gpu --out FOLDER. Needs nothing beside Python to start.

Writes FOLDER/gpu.json and FOLDER/gpu.md after every stage, so that a run that is cut off leaves
what it found. With --sources, the packed llama.cpp is built first; without, this Python's own is
used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gpu import machine, report
from gpu.stages import Outcome, Stage, run_stages

KINDS = ("bert", "xlmr", "qwen3")
SLOWER = 3.0
"""How much longer stages may take on a machine without a GPU, with few processors."""
BUILD = 420.0
"""Seconds after which what is left would be too little to learn anything, were it to go on."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stages; exit with 1 where one failed."""
    given = parser().parse_args(arguments)
    found = machine.survey()
    given.out.mkdir(parents=True, exist_ok=True)
    small = given.small or not found["gpus"]
    print(machine.line(found), "small networks and loads" if small else "", flush=True)

    def save(outcomes: dict[str, Outcome]) -> None:
        report.write(given.out, {**found, "small": small}, outcomes)

    stages = plan(given, found, small=small)
    outcomes = run_stages(stages, given.out / "logs", given.seconds, save)
    print((given.out / "gpu.md").read_text(), flush=True)
    sys.exit(not all(one.ok for one in outcomes.values()))


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--out", type=Path, default=Path("build/gpu/report"), metavar="FOLDER")
    made.add_argument("--seconds", type=float, default=570, help="for all stages together")
    made.add_argument("--sources", type=Path, help="build the llama.cpp packed there")
    made.add_argument("--build", type=Path, default=Path("build/gpu/engine"), metavar="FOLDER")
    made.add_argument("--models", type=Path, default=Path("build/gpu/models"), metavar="FOLDER")
    made.add_argument("--llama-server", default="", help="the program, where it isn't built here")
    made.add_argument("--small", action="store_true", help="tiny networks, as without a GPU")
    made.add_argument("--only", nargs="+", default=[], metavar="STAGE", help="and no others")
    return made


def plan(given: argparse.Namespace, found: machine.Survey, *, small: bool) -> list[Stage]:
    """Return the stages in the order of what they tell, should time run out."""
    server = given.llama_server
    if given.sources:
        server = server or str((given.build / "bin/llama-server").resolve())
    variables = {
        "GPU_MODELS": str(given.models.resolve()),
        "GPU_LLAMA_SERVER": server,
        "GPU_SMALL": "1" if small else "",
    }
    limits = {"models": 60.0, "devices": 30.0, "scores": 90.0, "offload": 60.0}
    limits |= {f"sweep-{kind}": 60.0 for kind in KINDS} | {f"speed-{kind}": 75.0 for kind in KINDS}
    limits |= {"partial": 60.0, "too-large": 60.0}
    slower = SLOWER if small else 1.0
    stages = [Stage(name, limit * slower, variables=variables) for name, limit in limits.items()]
    if given.sources:
        gpus = found["gpus"]
        to_build = [
            str(given.sources),
            str(given.build),
            gpus[0]["architecture"] if gpus else "cpu",
        ]
        command = [sys.executable, "-m", "gpu.building", *to_build]
        stages.insert(0, Stage("build", BUILD, command))
    return [one for one in stages if not given.only or one.name in given.only]


if __name__ == "__main__":
    main()
