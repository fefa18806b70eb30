"""The first load of a file on a machine, in a child process that may crash or hang.

The child runs `run_child`: it reads a LoadCheckRequest from stdin, loads the file, scores a known
pair alone and in a batch, reads `hard_texts`, judges how the file ranks texts whose order is known,
and writes a LoadCheckReply to stdout. A file without a working head gives scores that are not
finite, or that depend on the rest of the batch, or an order that is no better than chance.
"""

from __future__ import annotations

import asyncio
import math
import re
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from rerankd.children import command_of_child
from rerankd.deployments.hard_texts import try_hard_texts
from rerankd.deployments.judgement import judge_ranking
from rerankd.deployments.known_pictures import score_known_pictures
from rerankd.deployments.target import Target, examine, languages_of
from rerankd.deployments.tolerances import disagree
from rerankd.domain import Backend, Prompt
from rerankd.engine import open_engine
from rerankd.errors import LoadCheckFailed, RerankdError, UnprovenModel
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.prompts.picture_layout import picture_layout
from rerankd.settings import Settings
from rerankd.sources import resolve as sources
from rerankd.sources.gguf import family_of, require_sound_charsmap
from rerankd.threads import step_back
from rerankd.utf8 import decode_exactly, encode_json

PANDA_QUERY = "What is a panda?"
RELEVANT = "The giant panda is a bear species endemic to China."
IRRELEVANT = "hi"

LONGEST_REASON = 400
CHECKS = 3
"""Counts up when the check tries more, so that files that passed fewer are checked again."""

STAGE = "load check: "
"""What the child writes to stderr before each thing it tries, so that a crash can be told."""
FIRST_KILLED = "1000"
"""oom_score_adj of the child: where memory runs out, it goes first, not the server."""

CHILD_FLAG = "--load-check"
"""The single binary's argument that makes it the child (see binary/start.py)."""


class LoadCheckResult(Struct, frozen=True):
    """The logits of the relevant pair alone and in a batch, and of an irrelevant one."""

    alone: float
    packed: float
    irrelevant: float
    proven: bool = False
    """Whether clearly relevant texts came before clearly irrelevant ones."""
    judgement: str = ""
    """What was seen of that, in one line."""


def check_load(
    target: Target, settings: Settings, on_stage: Callable[[str], None] = lambda _stage: None
) -> LoadCheckResult:
    """Load a file in this process, score the known pair, read texts of all kinds and judge it.

    A bad file may end the process: see `check_in_child`. Raises LoadCheckFailed when the scores
    can't be right or a text can't be read, and what `open_engine` raises. A file that ranks badly
    raises nothing here: see `require_proven`.
    """
    require_sound_charsmap(target.header)
    family = family_of(target.header, target.verdict)
    engine = open_engine(target.header, target.verdict, settings, target.mmproj)
    try:
        layout = layout_for(family, target.header, engine.tokenizer)
        pictures = picture_layout(engine.pictures, layout)
        prompts = PromptBuilder(layout, engine.sizes.limits.pair_tokens, pictures=pictures)
        result = score_known_pair(engine.backends[0], prompts)
        try_hard_texts(engine.tokenizer, prompts, engine.backends[0], on_stage)
        if engine.pictures:
            on_stage("a picture")
            score_known_pictures(engine.backends[0], prompts, engine.pictures)
        on_stage("texts whose order is known")
        found = judge_ranking(engine.backends[0], prompts, languages_of(target))
        return msgspec.structs.replace(result, proven=found.proven, judgement=found.summary)
    finally:
        engine.close()


def require_proven(path: Path, result: LoadCheckResult, settings: Settings) -> None:
    """Raise UnprovenModel, with what was seen, for a file that ranks badly and wasn't accepted."""
    if not result.proven and not settings.accept_unproven:
        raise UnprovenModel(
            f"{path}: {result.judgement}; use another file, or serve it all the same with"
            " --accept-unproven (accept_unproven)"
        )


def score_known_pair(backend: Backend, prompts: PromptBuilder) -> LoadCheckResult:
    """Score the known pair alone and in a batch. Raises LoadCheckFailed when they disagree."""
    prompt = prompts.build(PANDA_QUERY, (RELEVANT, IRRELEVANT)).prompt
    ((alone,),) = backend.run([Prompt(prompt.prefix, prompt.rows[:1])])
    ((packed, irrelevant),) = backend.run([prompt])
    if not all(map(math.isfinite, (alone, packed, irrelevant))):
        raise LoadCheckFailed("its scores are not numbers")
    if disagree(alone, packed):
        raise LoadCheckFailed(
            f"a pair scores {alone:.3f} alone and {packed:.3f} next to another one: "
            "its head is broken"
        )
    return LoadCheckResult(alone, packed, irrelevant)


class LoadCheckRequest(Struct, frozen=True):
    """What the child is asked: `known_as` is the catalog's name for the file, if it has one."""

    path: str
    settings: Settings
    known_as: str | None = None


class LoadCheckReply(Struct, frozen=True):
    """What the child found: a result, or the reason why there is none."""

    result: LoadCheckResult | None = None
    error: str = ""


async def check_in_child(
    path: Path, settings: Settings, known_as: str | None = None
) -> LoadCheckResult:
    """Load and score a file in a child process that ends within `load_timeout` seconds.

    `known_as` is the catalog's name for it, whose manifest may say more than the file does.

    Raises LoadCheckFailed with the child's reason, its signal, or that it hung.
    """
    own = msgspec.structs.replace(settings, workers=1)
    request = encode_json(LoadCheckRequest(str(path), own, known_as))
    child = await asyncio.create_subprocess_exec(
        *child_command(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(settings.load_timeout):
            output, log = await child.communicate(request)
    except TimeoutError as error:
        raise LoadCheckFailed(
            f"{path}: did not load within {settings.load_timeout:g} s (load_timeout)"
        ) from error
    finally:
        if child.returncode is None:  # it hangs, or its caller was cancelled
            child.kill()
            await child.wait()
    return _result_of(path, child.returncode or 0, output, log)


def child_command() -> tuple[str, ...]:
    """Return the words that start the child, from Python or from the single binary."""
    return command_of_child(CHILD_FLAG, "rerankd.deployments.load_check", "run_child")


def _result_of(path: Path, code: int, output: bytes, log: bytes) -> LoadCheckResult:
    if code < 0:
        raise LoadCheckFailed(_crash(path, code, log.decode("utf-8", "replace")))
    if code > 0:
        lines = log.decode("utf-8", "replace").strip().splitlines()
        raise LoadCheckFailed((lines[-1] if lines else f"exit code {code}")[:LONGEST_REASON])
    try:
        reply = decode_exactly(output, LoadCheckReply)
    except ValueError as error:
        raise LoadCheckFailed(f"{path}: the load check gave no result") from error
    if reply.result is None:
        raise LoadCheckFailed(reply.error[:LONGEST_REASON])
    return reply.result


def _crash(path: Path, code: int, log: str) -> str:
    """Return the line on a child that a signal ended: on what, and llama.cpp's reason."""
    stages = re.findall(rf"^{STAGE}(.+)$", log, re.MULTILINE)
    reasons = re.findall(r"what\(\):\s*(.+)$|(\S+ failed)$", log, re.MULTILINE)
    on = f" on {stages[-1]}" if stages else ""
    why = f": {''.join(reasons[-1])}" if reasons else ""
    line = f"crashed llama.cpp ({signal.Signals(-code).name}){on}{why}"
    return f"{path}: {line[:LONGEST_REASON]}; use another file"


def _say_stage(stage: str) -> None:
    sys.stderr.write(f"{STAGE}{stage}\n")
    sys.stderr.flush()


def _expect_to_crash() -> None:
    """Leave no core file of the weights, and be the one to go where memory runs out."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text(FIRST_KILLED, "ascii")


def run_child() -> None:
    """Be the child: answer the request on stdin with one line on stdout."""
    _expect_to_crash()
    step_back()  # as the engines do: requests to models that serve already go first
    request = decode_exactly(sys.stdin.buffer.read(), LoadCheckRequest)
    try:
        reply = LoadCheckReply(_checked_as_asked(request))
    except RerankdError as error:
        reply = LoadCheckReply(error=error.message)
    sys.stdout.buffer.write(encode_json(reply) + b"\n")
    sys.stdout.buffer.flush()


def _checked_as_asked(request: LoadCheckRequest) -> LoadCheckResult:
    settings = request.settings
    manifest = sources.find_manifest(request.known_as, settings) if request.known_as else None
    target = examine("load-check", Path(request.path), manifest, settings)
    return check_load(target, settings, _say_stage)
