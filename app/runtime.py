"""An open model with all that serves it: engine, prompter, scheduler and facts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from app import gguf_file
from app.catalog import Manifest
from app.domain import Backend, ModelFacts, RankRequest
from app.engine import check, open_engine
from app.engine.devices import Offload
from app.engine.sizing import Sizes
from app.errors import ModelFileError
from app.gguf_file import Header, Verdict
from app.prompts import Built, Prompter, Vocabulary, layout_for
from app.scheduler import Load, Scheduler, Scored
from app.settings import Settings

logger = logging.getLogger(__name__)

TOKENIZER_THREADS = 2


class Target(Struct, frozen=True):
    """A model to serve, its file's header read and judged, nothing loaded."""

    id: str
    header: Header
    verdict: Verdict
    manifest: Manifest | None


class OpenEngine(Protocol):
    """An open model as it is needed here: `app.engine.Engine`, or a stand-in in tests."""

    @property
    def tokenizer(self) -> Vocabulary: ...

    @property
    def backends(self) -> tuple[Backend, ...]: ...

    @property
    def sizes(self) -> Sizes: ...

    @property
    def gpu_layers(self) -> int: ...

    @property
    def offload(self) -> Offload: ...

    def close(self) -> None: ...


Opener = Callable[[Header, Verdict, Settings], OpenEngine]


def examine(model_id: str, path: Path, manifest: Manifest | None, settings: Settings) -> Target:
    """Read and judge a file before it is loaded.

    Raises ModelFileError or SettingsError, one line that says what is wrong and what to do.
    """
    header = gguf_file.read(path)
    verdict = gguf_file.judge(
        header,
        bare_head=bool(manifest and manifest.bare_head),
        overrides=manifest.overrides if manifest else None,
    )
    gguf_file.require_reranker(header, verdict, accept_degraded=settings.accept_degraded)
    check(header, verdict, settings)
    return Target(model_id, header, verdict, manifest)


class Runtime:
    """A model that is loaded and scores; its threads run until it is closed."""

    def __init__(self, target: Target, engine: OpenEngine, settings: Settings) -> None:
        """Take over an open engine, which is closed if its vocabulary doesn't do."""
        if target.verdict.family is None:
            raise ModelFileError(f"{target.header.path}: {target.verdict.reason}")
        try:
            layout = layout_for(target.verdict.family, target.header, engine.tokenizer)
        except ModelFileError:
            engine.close()
            raise
        self.target = target
        self.facts = _facts(target, engine, takes_instruction=layout.takes_instruction)
        self._engine = engine
        self._tokenizing = ThreadPoolExecutor(TOKENIZER_THREADS, f"tokenizer-{target.id}")
        self._token_limit = settings.max_request_tokens
        self._prompter = Prompter(layout, engine.sizes.limits.pair_tokens)
        self._scheduler = Scheduler(engine.backends, max_tokens=settings.max_queue_tokens)

    @property
    def load(self) -> Load:
        """How busy it is."""
        return self._scheduler.load

    async def build(self, request: RankRequest, documents: tuple[str, ...]) -> Built:
        """Tokenise some documents for a request. See `Prompter.build` for what it raises."""
        build = partial(
            self._prompter.build,
            request.query,
            documents,
            instruction=request.instruction if self.facts.takes_instruction else None,
            truncate=request.truncate,
            token_limit=self._token_limit,
        )
        return await asyncio.get_running_loop().run_in_executor(self._tokenizing, build)

    async def score(self, built: Built) -> Scored:
        """Return the logits of all rows. See `Scheduler.score` for what it raises."""
        return await self._scheduler.score(built.prompt)

    def abort(self) -> None:
        """Fail all that waits with ShuttingDown."""
        self._scheduler.abort()

    async def close(self, seconds: float) -> None:
        """Let running work finish within `seconds`, fail the rest, free everything."""
        ended = await self._scheduler.close(seconds)
        # Tokenising may still go on for a request that has just been refused.
        await asyncio.to_thread(self._tokenizing.shutdown)
        if ended:
            self._engine.close()
        else:
            logger.warning("a step did not end: %s stays in memory", self.facts.id)


def open_runtime(target: Target, settings: Settings, opener: Opener = open_engine) -> Runtime:
    """Load a model. Raises ModelFileError, SettingsError or EngineFailure."""
    return Runtime(target, opener(target.header, target.verdict, settings), settings)


def _facts(target: Target, engine: OpenEngine, *, takes_instruction: bool) -> ModelFacts:
    header, manifest = target.header, target.manifest
    return ModelFacts(
        id=target.id,
        architecture=header.architecture,
        family=str(target.verdict.family),
        parameters=header.parameters,
        file=header.path.name,
        file_bytes=header.file_bytes,
        context=engine.sizes.limits.pair_tokens,
        trained_context=header.integer("context_length"),
        languages=manifest.languages if manifest else (),
        license=manifest.license if manifest else header.metadata.get("general.license"),
        gpu_layers=engine.gpu_layers,
        device="gpu" if engine.gpu_layers else "cpu",
        offload=engine.offload.reason,
        workers=engine.sizes.workers,
        threads=engine.sizes.threads,
        takes_instruction=takes_instruction,
    )
