"""The single binary on bare and on lesser machines; `just test-binary` runs this file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.binary_file import DOCUMENTS, FILE, PATIENCE, QUERY, SCORES, require_panda, serving
from support.places import files_in

TOLERANCE = 0.15
"""Logits, of a spread of eleven: kernels round activations to 8 bits each in their own way."""
TEXTS = (
    *DOCUMENTS,
    *(
        f"The {animal} lives in {place}."
        for animal in ("panda", "cat")
        for place in ("China", "huts")
    ),
    "Pandas eat bamboo. " * 20,
    "",
)
ARM = os.uname().machine == "aarch64"
QEMU = None if ARM else shutil.which("qemu-x86_64")
X86_FLAGS = {
    "sse42": "sse4_2",
    "haswell": "avx2",
    "alderlake": "avx_vnni",
    "skylakex": "avx512f",
    "cascadelake": "avx512_vnni",
    "icelake": "avx512vbmi",
    "zen4": "avx512_bf16",
    "sapphirerapids": "amx_int8",
}
ARM_FLAGS = {
    "armv8.0_1": "asimd",
    "armv8.2_2": "asimddp",
    "armv8.6_0": "i8mm",
    "armv8.6_1": "svei8mm",
    "armv8.6_2": "svei8mm sve2",
}
NEEDS = ARM_FLAGS if ARM else X86_FLAGS
"""What the kernel calls the instructions of each generation's kernels."""


def started(program: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command and the variables by which the unpacked program runs without a restart.

    An emulator follows no exec, so what the launcher and PyInstaller's loader do is done here.
    """
    libraries = program / "_internal"
    loader = [str(libraries / "ld-rerankd.so.2"), "--library-path", str(libraries)]
    variables = {
        "_PYI_ARCHIVE_FILE": str(program / "rerankd"),
        "_PYI_PARENT_PROCESS_LEVEL": "0",
        "LD_LIBRARY_PATH": str(libraries),
        "HOME": "/nonexistent",
    }
    return [*loader, str(program / "rerankd")], variables


def logits(command: Sequence[str], variables: dict[str, str]) -> dict[int, float]:
    """Rank TEXTS; return the logits by line, best first."""
    done = subprocess.run(
        [*command, "rank", "--raw-scores", "--format", "jsonl", QUERY],
        input="\n".join(map(json.dumps, TEXTS)),
        env=variables,
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {one["line"]: one["relevance_score"] for one in found}


@pytest.fixture(scope="session")
def expected() -> dict[int, float]:
    """What the installation that runs these tests gives, compiled for this machine."""
    return logits([sys.executable, "-m", "rerankd"], {**os.environ, "HOME": "/nonexistent"})


def require_same(found: dict[int, float], expected: dict[int, float]) -> None:
    """Hold scores to the native ones, and the order wherever those are further apart than that."""
    assert found.keys() == expected.keys()
    apart = max(abs(found[line] - score) for line, score in expected.items())
    assert apart < TOLERANCE, apart
    order = list(expected)
    for place, better in enumerate(order):
        for worse in order[place + 1 :]:
            if expected[better] - expected[worse] > TOLERANCE:
                assert found[better] > found[worse]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """An empty root: the binary, /tmp, and mount points of /proc and /dev/null."""
    for name in ("tmp", "proc", "dev"):
        (tmp_path / name).mkdir()
    (tmp_path / "dev/null").touch()
    shutil.copy(FILE, tmp_path / "rerankd")
    yield tmp_path
    shutil.rmtree(tmp_path / "tmp")


def inside(root: Path, *words: str) -> list[str]:
    """Return the command that runs the binary in a root, in a mount namespace of its own."""
    mounts = 'mount --bind /proc "$0/proc" && mount --bind /dev/null "$0/dev/null"'
    script = f'{mounts} && exec chroot "$0" /rerankd "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(root), *words]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts take root")
NOTHING = {"PATH": os.environ["PATH"], "RERANKD_LOG_FORMAT": "human"}


@needs_root
def test_an_empty_root_is_enough(root: Path) -> None:
    """No loader, no C library, no home, no users: serve answers the README's question there."""
    with serving(inside(root, "serve", "--port", "0"), NOTHING) as server:
        require_panda(server.panda())
        assert server.status("Name") == "rerankd"
        assert server.end() == 0
    assert sorted(path.name for path in (root / "tmp").iterdir()) == ["rerankd-0"]


@needs_root
def test_rank_works_in_an_empty_root(root: Path) -> None:
    done = subprocess.run(
        inside(root, "rank", QUERY),
        input="\n".join(DOCUMENTS),
        env=NOTHING,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["line"] for one in found] == [3, 2, 1]
    assert found[0]["relevance_score"] == pytest.approx(SCORES[2], abs=0.01)


@pytest.mark.skipif(QEMU is None, reason="Debian on x86-64: qemu-user")
@pytest.mark.parametrize(
    ("processor", "there", "missing"),
    [
        ("Haswell", "AVX2", "AVX512"),
        ("EPYC-Rome", "AVX2", "AVX512"),
        ("Nehalem", "SSSE3", "AVX"),
    ],
)
def test_lesser_processors_rank_alike(
    program: Path, expected: dict[int, float], processor: str, there: str, missing: str
) -> None:
    """Emulated, since only that hides instructions from all libraries: the scores are the same."""
    command, variables = started(program)
    variables = {key: value for key, value in variables.items() if key != "LD_LIBRARY_PATH"}
    library = f"LD_LIBRARY_PATH={program / '_internal'}"
    emulated = [str(QEMU), "-cpu", processor, "-E", library, *command]
    said = subprocess.run(
        [*emulated, "devices"], env=variables, capture_output=True, text=True, check=True
    )
    features = json.loads(said.stdout.splitlines()[0])["features"]
    assert f"{there} = 1" in features
    assert f"{missing} = 1" not in features
    require_same(logits(emulated, variables), expected)


@pytest.mark.skipif(QEMU is None, reason="Debian on x86-64: qemu-user")
def test_a_processor_without_sse42_is_told_so() -> None:
    done = subprocess.run(
        [str(QEMU), "-cpu", "Conroe", FILE, "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "error: this processor lacks SSE4.2, which rerankd needs\n" in done.stderr


@pytest.mark.parametrize("kernels", NEEDS)
def test_each_generations_kernels_rank_alike(
    program: Path, expected: dict[int, float], tmp_path: Path, kernels: str
) -> None:
    """One generation's kernels alone, on this processor if it can run them."""
    if not {*NEEDS[kernels].split()} <= {*Path("/proc/cpuinfo").read_text("utf-8").split()}:
        pytest.skip(f"this processor has no {NEEDS[kernels]}")
    copy = tmp_path / "program"
    shutil.copytree(program, copy, symlinks=True, copy_function=os.link)
    plugins = files_in(copy / "_internal/llama_cpp/lib", "libggml-cpu-*.so")
    assert {path.stem.removeprefix("libggml-cpu-") for path in plugins} == set(NEEDS)
    for path in plugins:
        if not path.stem.endswith(f"-{kernels}"):
            path.unlink()
    require_same(logits(*started(copy)), expected)
