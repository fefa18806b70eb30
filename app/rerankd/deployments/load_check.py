"""The first load of a file on a machine, in a child process that may crash or hang.

The child is `rerankd inspect --load`: it loads the file, scores a known pair alone and beside
others, and prints what it found. A file without a working head gives scores that are not finite,
or that change with their place in a batch.
"""

from __future__ import annotations

import asyncio
import math
import signal
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from rerankd.deployments.runtime import Target
from rerankd.domain import Backend, Prompt
from rerankd.engine import open_engine
from rerankd.errors import LoadCheckFailed
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.settings import MODEL_SETTINGS, Settings, model_flags

QUERY = "What is a panda?"
RELEVANT = "The giant panda is a bear species endemic to China."
OTHERS = ("hi", "The bank raised its interest rates by half a point.", RELEVANT + " " + RELEVANT)

DIFFERENCE = 0.5
"""Logits that a pair's score may differ alone and in a batch: far above rounding in any type."""
SHARE = 0.05
"""The same as a share of the score, for models whose logits are large."""
LONGEST_REASON = 400


class Passed(Struct, frozen=True):
    """The logits of the relevant pair alone and in a batch, and of an irrelevant one."""

    alone: float
    packed: float
    irrelevant: float

    @property
    def separates(self) -> bool:
        """Tell whether the relevant pair beat the irrelevant one."""
        return self.packed > self.irrelevant


def run(target: Target, settings: Settings) -> Passed:
    """Load and try a file in this process.

    Raises LoadCheckFailed when its scores are no scores, and what `open_engine` raises.
    """
    if target.verdict.family is None:
        raise LoadCheckFailed(f"{target.header.path}: {target.verdict.reason}")
    engine = open_engine(target.header, target.verdict, settings)
    try:
        layout = layout_for(target.verdict.family, target.header, engine.tokenizer)
        prompter = PromptBuilder(layout, engine.sizes.limits.pair_tokens)
        return try_pair(engine.backends[0], prompter)
    finally:
        engine.close()


def try_pair(backend: Backend, prompter: PromptBuilder) -> Passed:
    """Score the known pair alone and in a batch. Raises LoadCheckFailed when they disagree."""
    prompt = prompter.build(QUERY, (RELEVANT, *OTHERS)).prompt
    ((alone,),) = backend.run([Prompt(prompt.prefix, prompt.rows[:1])])
    ((packed, irrelevant),) = backend.run([Prompt(prompt.prefix, prompt.rows[:2])])
    if not all(map(math.isfinite, (alone, packed, irrelevant))):
        raise LoadCheckFailed("its scores are not numbers")
    if abs(alone - packed) > max(DIFFERENCE, SHARE * abs(alone)):
        raise LoadCheckFailed(
            f"a pair scores {alone:.3f} alone and {packed:.3f} beside another: its head is broken"
        )
    return Passed(alone, packed, irrelevant)


async def run_in_child(path: Path, settings: Settings, known_as: str | None = None) -> Passed:
    """Load and try a file in a child process that ends within `load_timeout` seconds.

    `known_as` is the catalog's name for it, whose manifest may say more than the file does.

    Raises LoadCheckFailed with the child's reason, its signal, or that it hung.
    """
    child = await asyncio.create_subprocess_exec(
        *own_command(),
        *("inspect", "--load", "--json", "--workers=1"),
        *(() if known_as is None else (f"--as={known_as}",)),
        *model_flags(settings, (MODEL_SETTINGS | {"catalog_dir"}) - {"workers"}),
        *("--", str(path)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(settings.load_timeout):
            output, complaints = await child.communicate()
    except TimeoutError as error:
        raise LoadCheckFailed(
            f"{path}: did not load within {settings.load_timeout:g} s (load_timeout)"
        ) from error
    finally:
        if child.returncode is None:  # hung, or whoever waited for it has gone
            child.kill()
            await child.wait()
    return _outcome(path, child.returncode or 0, output, complaints)


def own_command() -> list[str]:
    """Return the command that runs this program again, from Python or frozen into one file."""
    frozen = getattr(sys, "frozen", False)
    return [sys.executable] if frozen else [sys.executable, "-m", "rerankd"]


class _Report(Struct):
    check: Passed


def _outcome(path: Path, code: int, output: bytes, complaints: bytes) -> Passed:
    if code < 0:
        name = signal.Signals(-code).name
        raise LoadCheckFailed(f"{path}: llama.cpp crashed on it ({name}); use another file")
    if code > 0:
        lines = complaints.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1].removeprefix("error: ") if lines else f"exit code {code}"
        raise LoadCheckFailed(reason[:LONGEST_REASON])
    try:
        return msgspec.json.decode(output, type=_Report).check
    except msgspec.DecodeError as error:
        raise LoadCheckFailed(f"{path}: the load check gave no result") from error
