"""The load check: what passes, and what a child that crashes, hangs or lies comes to."""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from rerankd import cli
from rerankd.deployments import load_check
from rerankd.deployments import runtime as runtime_module
from rerankd.deployments.identity import identity_of
from rerankd.deployments.loader import FileLoader, check_of
from rerankd.deployments.runtime import open_runtime
from rerankd.deployments.target import examine
from rerankd.deployments.tolerances import TOLERANCE
from rerankd.domain import TokenIds
from rerankd.errors import LoadCheckFailed, ModelFileError
from rerankd.families.bert import BERT
from rerankd.prompts import PairLayout, PromptBuilder
from rerankd.settings import Settings
from rerankd.sources import resolve as sources
from rerankd.store import Spec

from support.fakes import LIMITS, FakeBackend, FakeTokenizer
from support.places import ROOT
from support.serving import by_length
from support.split_gguf import split_gguf
from support.tiny_models import write_bert, write_qwen3

pytestmark = pytest.mark.slow

EMBEDDED = ROOT / "models" / "rerank-mini-en-q8_0.gguf"


def in_child(path: Path, **settings: float) -> load_check.LoadCheckResult:
    """Run a check in a child and wait for it."""
    return asyncio.run(load_check.check_in_child(path, Settings(**settings)))  # type: ignore[arg-type]


def test_good_files_pass_in_a_child(tmp_path: Path) -> None:
    """The child's scores come back: the embedded model is proven, a random one need not be."""
    causal = tmp_path / "tiny-qwen3-reranker.gguf"
    write_qwen3(causal, head="own")

    embedded = in_child(EMBEDDED)
    random = in_child(causal)

    assert embedded.proven
    assert math.isclose(embedded.alone, embedded.packed, abs_tol=TOLERANCE)
    assert math.isfinite(random.packed)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import os; os.abort()", "crashed llama.cpp (SIGABRT)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed llama.cpp (SIGSEGV)"),
        ("import sys; sys.exit('no rank head')", "no rank head"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("print()", "gave no result"),
        ("""print('{"error":"no rank head"}')""", "no rank head"),
        ("import threading; threading.Event().wait()", "did not load within 1 s"),
    ],
)
def test_bad_children_are_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    """A crash names its signal, a hang its limit, a refusal the child's own words."""
    monkeypatch.setattr(load_check, "child_command", lambda: (sys.executable, "-c", script))

    with pytest.raises(LoadCheckFailed) as raised:
        in_child(EMBEDDED, load_timeout=1.0)

    assert reason in raised.value.message
    assert "\n" not in raised.value.message


def test_a_waiting_caller_that_leaves_takes_the_child_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When a deployment is stopped during its check, the child is killed."""
    script = "import threading; threading.Event().wait()"
    monkeypatch.setattr(load_check, "child_command", lambda: (sys.executable, "-c", script))
    children: list[asyncio.subprocess.Process] = []
    create = asyncio.create_subprocess_exec

    async def watched(*command: str, **pipes: int) -> asyncio.subprocess.Process:
        children.append(await create(*command, **pipes))
        return children[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watched)

    async def check() -> None:
        waiting = asyncio.create_task(load_check.check_in_child(EMBEDDED, Settings()))
        while not children:  # noqa: ASYNC110 - the child is started by the task, in its own time
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})

    asyncio.run(check())

    assert children[0].returncode == -9


FAKE_PACKAGE = "raise SystemExit('the code of the working directory ran')"


@pytest.mark.parametrize("pythonpath", [None, "."])
def test_a_child_runs_no_code_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pythonpath: str | None
) -> None:
    """Packages called rerankd and app where the server runs are not taken for ours."""
    for name in ("app", "rerankd", "msgspec"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(FAKE_PACKAGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as in an interactive session
    if pythonpath:
        monkeypatch.setenv("PYTHONPATH", pythonpath)

    assert in_child(EMBEDDED).proven


def test_a_relative_path_is_the_child_s_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child works in its parent's directory."""
    write_qwen3(tmp_path / "tiny-qwen3-reranker.gguf", head="own")
    monkeypatch.chdir(tmp_path)

    assert math.isfinite(in_child(Path("tiny-qwen3-reranker.gguf")).packed)


def test_the_single_binary_is_its_own_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen, the child is the same file with a hidden argument that its first lines know."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    program, *arguments = load_check.child_command()
    start = str(ROOT / "binary" / "start.py")
    monkeypatch.setattr(load_check, "child_command", lambda: (program, start, *arguments))

    assert program == sys.executable
    assert in_child(EMBEDDED).proven


def _prompter() -> PromptBuilder:
    empty = FakeTokenizer().tokenize("")
    return PromptBuilder(PairLayout(FakeTokenizer(), empty, empty, empty), LIMITS.pair_tokens)


def test_scores_that_are_no_numbers_fail() -> None:
    """NaN fails the check."""
    backend = FakeBackend(score=lambda _row: math.nan, limits=LIMITS)

    with pytest.raises(LoadCheckFailed, match="not numbers"):
        load_check.score_known_pair(backend, _prompter())


def test_scores_that_depend_on_their_neighbours_fail() -> None:
    """A head that reads another row's numbers gives itself away."""
    calls: list[int] = []

    def drifting(_row: TokenIds) -> float:
        calls.append(1)
        return float(len(calls))

    with pytest.raises(LoadCheckFailed, match="head is broken"):
        load_check.score_known_pair(FakeBackend(score=drifting, limits=LIMITS), _prompter())


def test_steady_scores_pass() -> None:
    """A pair that scores the same alone and beside another passes."""
    passed = load_check.score_known_pair(FakeBackend(score=by_length, limits=LIMITS), _prompter())

    assert passed.alone == passed.packed
    assert passed.packed > passed.irrelevant


def test_inspect_prints_the_verdict_and_fails_for_others(tmp_path: Path) -> None:
    """A reranker exits with 0, any other file with 2 after the same report."""
    lost = tmp_path / "lost.gguf"
    write_bert(lost, pooler=False)

    good = CliRunner().invoke(cli.main, ["inspect", str(EMBEDDED)])
    bad = CliRunner().invoke(cli.main, ["inspect", str(lost)])

    assert (good.exit_code, bad.exit_code) == (0, 2)
    assert json.loads(good.stdout)["kind"] == "reranker"
    assert json.loads(bad.stdout)["kind"] == "degraded"
    assert "no rank head to serve" in bad.stderr


BARE = """\
bare_head = true
id = "bare"
title = "Bare"
description = "A head without a pooler"
license = "MIT"
languages = ["en"]
parameters = 1
family = "bert"
score = "sigmoid"
default = "F32"
context = {{ trained = 64, recommended = 64 }}
shape = {{ layers = 1, width = 32, heads = 2 }}

[[variants]]
name = "F32"
file = "bare.gguf"
bytes = {size}
"""


def test_a_child_judges_as_the_manifest_does(tmp_path: Path) -> None:
    """A file that only its manifest vouches for is tried as it will be served."""
    path = write_bert(tmp_path / "bare.gguf", pooler=False)
    (tmp_path / "bare.toml").write_text(BARE.format(size=path.stat().st_size))
    settings = Settings(catalog_dir=str(tmp_path), accept_unproven=True)
    spec = Spec(id="bare", source="bare")
    resolved = sources.resolve_model(spec.source, settings)

    target, _ = asyncio.run(FileLoader(settings, None).verify(spec, resolved))

    assert target.verdict.family is BERT
    with pytest.raises(LoadCheckFailed, match="no rank head"):
        in_child(path)


@pytest.mark.parametrize("known_as", ["nothing-like-it", "nothing:F32"])
def test_inspect_as_an_unknown_model_is_refused(known_as: str) -> None:
    """A name that the catalog lacks is told, not passed over."""
    done = CliRunner().invoke(cli.main, ["inspect", f"--as={known_as}", str(EMBEDDED)])

    assert done.exit_code == 2
    assert f"'{known_as}' is neither a family nor a catalog id" in done.stderr


def test_a_split_model_is_checked_again_when_a_part_changes(tmp_path: Path) -> None:
    """Load checks and identities hold for all parts as they were."""
    first, second = split_gguf(write_bert(tmp_path / "a.gguf"), (0,))
    target = examine("a", first, None, Settings(workers=1))
    runtime = open_runtime(target)
    check, identity = check_of(target), runtime.identity
    asyncio.run(runtime.close(1.0))
    os.utime(second, (1, 1))
    assert check != check_of(target)
    assert identity != identity_of(target, runtime.facts)
    second.unlink()
    with pytest.raises(ModelFileError, match=second.name):
        check_of(target)


def test_a_closed_model_gives_its_memory_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the engine is closed, and apart from the event loop, which either would hold up."""
    happened: list[tuple[str, str]] = []

    def note(what: str) -> None:
        happened.append((what, threading.current_thread().name.partition("_")[0]))

    monkeypatch.setattr(runtime_module, "give_back_freed", lambda: note("given back"))
    target = examine("a", write_bert(tmp_path / "a.gguf"), None, Settings(workers=1))
    runtime = open_runtime(target)
    close = runtime._engine.close
    monkeypatch.setattr(runtime._engine, "close", lambda: (note("closed"), close()))

    asyncio.run(runtime.close(1.0))

    assert happened == [("closed", "free-model"), ("given back", "free-model")]
