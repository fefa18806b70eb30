"""An open model with all that serves it: engine, prompts, scheduler and facts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, Protocol

import msgspec

from rerankd.allocator import give_back_freed
from rerankd.deployments.applied_tuning import (
    apply_tuning,
    find_tuning,
    weights_file,
)
from rerankd.deployments.identity import identity_of
from rerankd.deployments.target import Target, languages_of
from rerankd.domain import Backend, ModelFacts, Observer, Prompt, ScoreScale, StepFacts
from rerankd.engine import open_engine
from rerankd.engine.planning.devices import Offload
from rerankd.engine.planning.sizing import Sizes
from rerankd.errors import ModelFileError
from rerankd.families.prompt_format import PictureFormat
from rerankd.prompts import PromptBuilder, TextRowBuilder, Vocabulary, layout_for
from rerankd.prompts.picture_layout import picture_layout
from rerankd.prompts.token_cache import TokenCache
from rerankd.scheduling.scheduler import Scheduler
from rerankd.scheduling.tickets import Load
from rerankd.sources import gguf as gguf_file
from rerankd.threads import run_apart

logger = logging.getLogger(__name__)

TOKENIZER_THREADS = 2
TOKEN_CACHE_SHARE = 4
"""The token cache takes the score cache's bytes divided by this."""


class OpenEngine(Protocol):
    """What is needed of an open model: `rerankd.engine.Engine`, or a stand-in in tests."""

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

    @property
    def pictures(self) -> PictureFormat | None: ...

    def costs(self, prompt: Prompt) -> tuple[int, ...]: ...

    def close(self) -> None: ...


Reservation = Literal["degraded", "unproven"]
"""A part of the head is missing; it failed to put relevant texts first in the load check."""

Opener = Callable[..., OpenEngine]
"""Opens a header with its verdict and settings, and the projector's path if there is one."""


class Runtime:
    """A model that is loaded and scores; its threads run until it is closed."""

    def __init__(
        self, target: Target, engine: OpenEngine, observer: Observer | None = None
    ) -> None:
        """Take over an open engine, which is closed if its vocabulary doesn't fit the layout."""
        settings = target.settings
        family = gguf_file.family_of(target.header, target.verdict)
        try:
            vocabulary = TokenCache(engine.tokenizer, settings.cache_bytes // TOKEN_CACHE_SHARE)
            layout = layout_for(family, target.header, vocabulary)
            # Lengths that are only tried must not push documents out of the cache.
            trial = layout_for(family, target.header, engine.tokenizer)
            pictures = picture_layout(engine.pictures, trial)
        except ModelFileError:
            engine.close()
            raise
        self.target = target
        self.languages = languages_of(target)
        self.facts = model_facts(target, engine, takes_instruction=layout.takes_instruction)
        self.identity = identity_of(target, self.facts)
        """Digest of everything about the model and its settings that scores depend on."""
        self._engine = engine
        self.tokenizers = ThreadPoolExecutor(TOKENIZER_THREADS, f"tokenizer-{target.id}")
        """Threads for what comes before the engine: it takes as long as texts are."""
        self.token_limit = settings.max_request_tokens
        self.identifier_logits = family.identifier_logits if settings.identifiers == "auto" else 0.0
        """What a document gains that has all identifiers of the query."""
        self.costs = engine.costs
        """Tokens of a prompt's rows that the engine has yet to decode."""
        pair_tokens = engine.sizes.limits.pair_tokens
        self.texts = TextRowBuilder(layout, pair_tokens, trial) if family.embeds else None
        """Makes rows of texts that are embedded; None for a model that gives no vectors."""
        window = target.manifest.context.window if target.manifest else None
        self.pictures = engine.pictures
        """How it sees pictures; None for a model that reads text only."""
        self.prompts = PromptBuilder(layout, pair_tokens, trial, window=window, pictures=pictures)
        self._observer = observer
        self.scheduler = Scheduler(
            engine.backends, max_tokens=settings.max_queue_tokens, on_step=self._stepped
        )

    @property
    def marks(self) -> tuple[Reservation, ...]:
        """Why its scores may be wrong, although somebody chose to serve it."""
        degraded: tuple[Reservation, ...] = ("degraded",)
        unproven: tuple[Reservation, ...] = ("unproven",)
        target = self.target
        return (
            *(degraded if target.verdict.kind == "degraded" else ()),
            *(unproven if target.unproven else ()),
        )

    @property
    def load(self) -> Load:
        """How busy it is."""
        return self.scheduler.load

    def _stepped(self, step: StepFacts) -> None:
        if self._observer:
            self._observer.stepped(self.target.id, step)

    def abort(self) -> None:
        """Fail all that waits with ShuttingDown."""
        self.scheduler.abort()

    async def close(self, seconds: float) -> None:
        """Let running work finish within `seconds`, fail the rest, free everything."""
        ended = await self.scheduler.close(seconds)
        # Tokenising may still go on for a request that has just been refused.
        await run_apart("tokenizers-end", self.tokenizers.shutdown)
        if ended:
            await run_apart("free-model", self._free)
        else:
            logger.warning("a step did not end; %s stays in memory", self.facts.id)

    def _free(self) -> None:
        self._engine.close()
        give_back_freed()


def open_runtime(
    target: Target, opener: Opener = open_engine, observer: Observer | None = None
) -> Runtime:
    """Load a model. Raises ModelFileError, SettingsError or EngineFailure."""
    projector = () if target.mmproj is None else (target.mmproj,)
    engine = opener(target.header, target.verdict, target.settings, *projector)
    return Runtime(target, engine, observer)


def fastest(target: Target) -> Target:
    """Return a target with what tuning found for it, its weights requantized where that is set.

    Raises ModelFileError where they can't be written.
    """
    settings = apply_tuning(target.header, target.settings)
    path = weights_file(target.header, settings)
    header = target.header if path == target.header.path else gguf_file.read(path)
    return msgspec.structs.replace(target, header=header, settings=settings)


def may_convert(target: Target) -> bool:
    """Return whether `fastest` may have weights to convert."""
    chosen = target.settings.weights not in {"auto", "file"}
    return chosen or find_tuning(target.header, target.settings) is not None


def score_scale_of(target: Target) -> ScoreScale:
    """Return the scale of a model's scores where a request asks for no other."""
    if target.calibration:
        return "calibrated"
    return "model" if target.verdict.calibrated else "uncalibrated"


def model_facts(target: Target, engine: OpenEngine, *, takes_instruction: bool) -> ModelFacts:
    """Return what there is to know of a model that an engine has opened."""
    header, manifest = target.header, target.manifest
    family = gguf_file.family_of(header, target.verdict)
    return ModelFacts(
        id=target.id,
        architecture=header.architecture,
        family=family.name,
        parameters=header.parameters,
        file=header.path.name,
        file_bytes=target.file_bytes,
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
        scoring=family.scoring,
        embeds=family.embeds,
        dimensions=header.integer("embedding_length") if family.embeds else None,
        input_modalities=("text", "image") if engine.pictures else ("text",),
        score_scale=score_scale_of(target),
    )
