"""Hundreds of damaged files: each is refused, fails its check, or kills the child and no more."""

from __future__ import annotations

import asyncio
import os
import random
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rerankd.deployments import load_check
from rerankd.errors import LoadCheckFailed, ModelFileError
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file

from support.places import ROOT, SOURCE
from support.tiny_models import write_bert, write_qwen3

pytestmark = pytest.mark.slow

TRY_ALL = """
import sys
from pathlib import Path
from rerankd.deployments import load_check
from rerankd.errors import RerankdError
from rerankd.deployments.target import examine
from rerankd.settings import Settings
settings = Settings(workers=1, threads=1, accept_degraded=True)
for name in sys.argv[1:]:
    print("try", name, flush=True)
    try:
        load_check.check_load(examine("x", Path(name), None, settings), settings)
    except RerankdError:
        print("refused", name, flush=True)
    else:
        print("passed", name, flush=True)
"""


def truncated(whole: bytes) -> Iterator[bytes]:
    """Yield the file cut at many places."""
    for number in range(60):
        yield whole[: len(whole) * number // 60]


def flipped(whole: bytes, header: int, rng: random.Random) -> Iterator[bytes]:
    """Yield the file with random bytes of its header changed."""
    for _ in range(120):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(8, header)] = rng.randrange(256)
        yield bytes(damaged)


def reshaped(whole: bytes, rng: random.Random) -> Iterator[bytes]:
    """Yield the file with a tensor's dimension changed to another small number."""
    places = [
        at
        for name in (b"attn_q.weight", b"ffn_up.weight", b"token_embd.weight")
        for at in _all(whole, name)
    ]
    for _ in range(20):
        at = rng.choice(places)
        damaged = bytearray(whole)
        struct.pack_into("<Q", damaged, at + rng.choice((0, 8)), rng.choice((0, 1, 31, 33, 64)))
        yield bytes(damaged)


def _all(whole: bytes, name: bytes) -> list[int]:
    """Return where the dimensions of the tensors of that name stand."""
    found, at = [], whole.find(name)
    while at >= 0:
        found.append(at + len(name) + 4)
        at = whole.find(name, at + 1)
    return found


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write all damaged files."""
    folder = tmp_path_factory.mktemp("damaged")
    rng = random.Random(11)
    paths: list[Path] = []
    for name, write in (("bert", write_bert), ("qwen3", write_qwen3)):
        good = folder / f"{name}-reranker.gguf"
        write(good)
        whole = good.read_bytes()
        header = whole.find(b"output_norm") if name == "qwen3" else whole.find(b"token_embd")
        variants = (*truncated(whole), *flipped(whole, header, rng), *reshaped(whole, rng))
        for number, content in enumerate(variants):
            paths.append(folder / f"{name}-reranker-{number}.gguf")
            paths[-1].write_bytes(content)
    return paths


def outcomes(paths: list[Path]) -> dict[str, str]:
    """Try all files in children; one that dies is replaced, and its last file has crashed."""
    found: dict[str, str] = {}
    waiting = [str(path) for path in paths]
    while waiting:
        done = subprocess.run(
            [sys.executable, "-c", TRY_ALL, *waiting],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
        found |= {name: outcome for outcome, name in lines if outcome != "try"}
        if done.returncode:
            assert done.returncode < 0, done.stderr  # a signal, not an exception of ours
            found[lines[-1][1]] = "crashed"
        waiting = [name for name in waiting if name not in found]
    return found


def test_damaged_files_kill_nothing_but_a_child(damaged: list[Path]) -> None:
    """Of 400 files most are refused by their header; none raises what it shouldn't."""
    found = outcomes(damaged)
    counted = Counter(found.values())

    assert len(found) == len(damaged) == 400
    assert counted["refused"] > 250
    for name in [name for name, outcome in found.items() if outcome == "crashed"][:2]:
        with pytest.raises(LoadCheckFailed, match="crashed"):
            asyncio.run(load_check.check_in_child(Path(name), Settings(accept_degraded=True)))


def test_truncated_files_never_reach_llama_cpp(damaged: list[Path]) -> None:
    """Every file that is cut short is refused by reading its header."""
    for path in damaged[:60] + damaged[200:260]:
        with pytest.raises(ModelFileError):
            gguf_file.read(path)
