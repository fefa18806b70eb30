"""The aarch64 engine and binary on several emulated processors; `just test-arm` runs this file.

qemu-user runs the interpreter of build/aarch64/venv; it translates, so that one ranking takes some
ten seconds. The native scores are those of the environment that runs these tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from support.binary_file import DOCUMENTS, PATIENCE, QUERY, SCORES
from support.places import ROOT, files_in

QEMU = shutil.which("qemu-aarch64")
PYTHON = ROOT / "build/aarch64/venv/bin/python"
ENGINE = ROOT / "build/engine-aarch64/llama_cpp/lib"
BINARY = ROOT / "dist/rerankd-aarch64"
TOLERANCE = 0.15
"""Logits, of a spread of eleven: kernels round activations to 8 bits each in their own way."""
TEXTS = (*DOCUMENTS, "The cat lives in huts.", "Pandas eat bamboo. " * 20, "")
RANKING = ("rank", "--raw-scores", "--format", "jsonl", QUERY)

PROCESSORS = [
    ("cortex-a53", "armv8.0_1"),  # Raspberry Pi 3
    ("cortex-a72", "armv8.0_1"),  # Raspberry Pi 4, Graviton 1
    ("cortex-a76", "armv8.2_2"),  # Raspberry Pi 5
    ("neoverse-n1", "armv8.2_2"),  # Graviton 2, Ampere Altra
    ("max,sve=off", "armv8.6_0"),  # like AmpereOne, Snapdragon X, Apple's M2
    ("neoverse-v1", "armv8.6_1"),  # Graviton 3
    ("max", "armv8.6_2"),  # like Graviton 4, Grace, Cobalt
]
"""What qemu calls a processor, and the variant that llama.cpp takes on it."""

TELL_VARIANT = """
import atexit, re, runpy, sys
def tell():
    with open("/proc/self/maps") as file:
        found = set(re.findall(r"libggml-cpu-(.+)\\.so", file.read()))
    print("variants:", *sorted(found), file=sys.stderr)
atexit.register(tell)
runpy.run_module("rerankd", run_name="__main__")
"""


@cache
def emulated_processors() -> set[str]:
    """Return the processors that this qemu knows: Neoverse V1 is there from version 8.1 on."""
    # It exits with 1 after its list.
    said = subprocess.run([str(QEMU), "-cpu", "help"], capture_output=True, text=True, check=False)
    return set(said.stdout.split())


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **more}


def ranked(command: Sequence[str | Path], **variables: str) -> tuple[dict[int, float], str]:
    """Rank TEXTS; return the logits by line, best first, and what was said on standard error."""
    done = subprocess.run(
        [*command, *RANKING],
        input="\n".join(map(json.dumps, TEXTS)),
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = map(json.loads, done.stdout.splitlines())
    return {one["line"]: one["relevance_score"] for one in found}, done.stderr


@pytest.fixture(scope="session")
def native() -> dict[int, float]:
    """This machine's logits."""
    python_path = str(ROOT / "app")
    return ranked([sys.executable, "-m", "rerankd"], PYTHONPATH=python_path)[0]


def require_alike(found: dict[int, float], native: dict[int, float]) -> None:
    """Hold logits to the native ones, and the panda example to its order."""
    assert found.keys() == native.keys()
    apart = max(abs(found[line] - score) for line, score in native.items())
    assert apart < TOLERANCE, apart
    assert [line for line in found if line <= len(SCORES)] == [3, 2, 1]


@pytest.mark.parametrize(("processor", "variant"), PROCESSORS)
def test_each_processor_takes_its_variant_and_ranks_alike(
    native: dict[int, float], processor: str, variant: str
) -> None:
    if processor.partition(",")[0] not in emulated_processors():
        pytest.skip(f"this qemu has no {processor}")

    found, said = ranked([PYTHON, "-c", TELL_VARIANT], RERANKD_QEMU_CPU=processor)

    assert said.splitlines()[-1] == f"variants: {variant}"
    require_alike(found, native)


def test_every_variant_is_there() -> None:
    """And no other: each is what some processor above takes."""
    built = {
        path.stem.removeprefix("libggml-cpu-") for path in files_in(ENGINE, "libggml-cpu-*.so")
    }

    assert built == {variant for _, variant in PROCESSORS}


@pytest.mark.skipif(not BINARY.exists(), reason="`just binary aarch64` makes it")
def test_the_binary_unpacks_itself_and_ranks_alike(
    native: dict[int, float], tmp_path: Path
) -> None:
    """The emulator follows no exec, so what the launcher does last is done here."""
    tmp_path.chmod(0o700)
    subprocess.run(
        [str(QEMU), BINARY, "--version"],
        env=environment(RERANKD_UNPACK_DIR=str(tmp_path)),
        capture_output=True,
        check=False,
    )
    (program,) = tmp_path.glob("program-*")
    libraries = program / "_internal"
    loader = [libraries / "ld-rerankd.so.2", "--library-path", libraries, program / "rerankd"]
    variables = {
        "_PYI_ARCHIVE_FILE": str(program / "rerankd"),
        "_PYI_PARENT_PROCESS_LEVEL": "0",
    }

    found, _ = ranked([str(QEMU), "-E", f"LD_LIBRARY_PATH={libraries}", *loader], **variables)

    require_alike(found, native)
