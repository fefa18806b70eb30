"""Opening a model: weights, contexts and tokenizer, ready to score."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from threadpoolctl import threadpool_limits

from rerankd.domain import Backend, Prompt
from rerankd.engine.backends.causal import CausalBackend
from rerankd.engine.backends.embedding import EmbeddingBackend, VectorStore
from rerankd.engine.backends.encoder import EncoderBackend
from rerankd.engine.backends.vectors import MEAN, RELATED, Cosine, LateInteraction, Similarity
from rerankd.engine.llama import binding, ggml
from rerankd.engine.planning.devices import Offload, decide
from rerankd.engine.planning.sizing import CAUSAL, Sizes, plan
from rerankd.engine.token_types import TokenTypeEmbedder, repeats_output
from rerankd.errors import ModelFileError, SettingsError
from rerankd.machine import available_cores
from rerankd.prompts import layout_for
from rerankd.settings import Settings
from rerankd.sources.gguf import Header, Readout, Verdict

logger = logging.getLogger(__name__)

EMBEDDING = frozenset({"embedding", "late-interaction"})


class _Reading(Struct, frozen=True, kw_only=True, eq=False):
    """How a model's scores are read; `answers` are the ids of yes and no where logits are."""

    causal: bool = False
    answers: tuple[int, int] | None = None
    tanh_head: bool = False
    token_types: TokenTypeEmbedder | None = None
    measure: Similarity | None = None
    """Of an embedding model: how vectors are made and compared."""
    store: VectorStore | None = None

    @property
    def readout(self) -> Readout:
        return "logits" if self.answers else "rank"


class Engine:
    """One open model: its tokenizer, and a backend for each worker thread."""

    def __init__(  # noqa: PLR0913 - what opening came to
        self,
        model: binding.LlamaModel,
        backends: Sequence[Backend],
        sizes: Sizes,
        offload: Offload,
        readout: Readout,
        store: VectorStore | None = None,
    ) -> None:
        """`store` is where an embedding model's vectors are kept."""
        self.tokenizer = model
        self.backends = tuple(backends)
        self.sizes = sizes
        self.offload = offload
        self.gpu_layers = offload.layers
        self.readout = readout
        self._model = model
        self._store = store

    def costs(self, prompt: Prompt) -> tuple[int, ...]:
        """Return the tokens still to be decoded for each row; empty: all of them."""
        return self._store.costs(prompt) if self._store else ()

    def close(self) -> None:
        """Free all contexts and the weights; no backend may be running."""
        for backend in self.backends:
            backend.close()
        self._model.close()


def check(header: Header, verdict: Verdict, settings: Settings) -> None:
    """Raise SettingsError when a setting doesn't suit the model or this build; loads nothing."""
    plan_sizes(header, verdict, settings)
    if settings.kv_type == "q8_0" and settings.flash_attn == "off":
        raise SettingsError("kv_type q8_0 needs flash_attn on", param="kv_type")


def open_engine(header: Header, verdict: Verdict, settings: Settings) -> Engine:
    """Load a model and make its contexts.

    Raises ModelFileError when llama.cpp refuses the file, SettingsError when a setting doesn't
    suit it, EngineFailure when a context can't be made.
    """
    sizes, offload = plan_sizes(header, verdict, settings)
    logger.info("%s: %s", header.path.name, offload.reason)
    model = binding.LlamaModel(
        header.path,
        binding.LoadOptions(
            gpu_layers=offload.layers,
            main_gpu=offload.main_gpu,
            split_mode=offload.split_mode,
            tensor_split=offload.tensor_split,
            mmap=settings.mmap,
            mlock=settings.mlock,
            overrides=verdict.overrides,
        ),
    )
    backends: list[Backend] = []
    try:
        reading = _reading(header, verdict, model, settings)
        for _ in range(sizes.workers):
            backends.append(_open_backend(model, reading, settings, sizes))  # noqa: PERF401
        if isinstance(reading.measure, Cosine):
            _calibrate(reading.measure, header, model, backends[0])
    except BaseException:
        for backend in backends:
            backend.close()
        model.close()
        raise
    return Engine(model, backends, sizes, offload, reading.readout, reading.store)


def plan_sizes(header: Header, verdict: Verdict, settings: Settings) -> tuple[Sizes, Offload]:
    """Plan sizes and GPU layers together: a step is longer on a GPU, and takes memory there.

    Raises SettingsError when a GPU is asked for that isn't there, ModelFileError when the header
    has no sizes to plan with. The first call starts llama.cpp and the GPUs' drivers.
    """
    binding.start()
    cores = settings.cores or available_cores()
    sizes = plan(header, verdict, settings, cores=cores, on_gpu=True)
    offload = decide(header, verdict, settings, sizes, ggml.survey())
    if offload.layers:
        return sizes, offload
    return plan(header, verdict, settings, cores=cores), offload


def _open_backend(
    model: binding.LlamaModel, reading: _Reading, settings: Settings, sizes: Sizes
) -> Backend:
    by_logits = reading.readout == "logits"
    embeds = reading.measure is not None
    context = binding.LlamaContext(
        model,
        binding.ContextOptions(
            cells=sizes.limits.cells,
            batch=sizes.batch,
            sequences=sizes.sequences,
            threads=sizes.threads,
            pooling="none" if by_logits or embeds else "rank",
            hidden_states=embeds,
            flash_attn=settings.flash_attn,
            kv_type=settings.kv_type,
            outputs=sizes.sequences if by_logits else 0,
        ),
    )
    if reading.measure and reading.store:
        return EmbeddingBackend(context, sizes.limits, reading.measure, reading.store)
    if reading.causal:
        return CausalBackend(
            context,
            sizes.limits,
            batch=sizes.batch,
            readout=reading.readout,
            answers=reading.answers or (0, 0),
        )
    return EncoderBackend(
        context, sizes.limits, tanh_head=reading.tanh_head, token_types=reading.token_types
    )


def _reading(
    header: Header, verdict: Verdict, model: binding.LlamaModel, settings: Settings
) -> _Reading:
    """Decide how scores are read. Raises ModelFileError when the file lacks what that takes."""
    if verdict.family in EMBEDDING:
        # The library's own threads would wait for each other, twice as long as all the work takes.
        threadpool_limits(limits=1, user_api="blas")
        store = VectorStore(settings.vector_cache_bytes)
        return _Reading(measure=_measure(header, verdict, model), store=store)
    if verdict.family in CAUSAL:
        return _Reading(causal=True, answers=_answers(header, verdict, model))
    if not verdict.token_types:
        return _Reading(tanh_head=verdict.uncalibrated)
    separator = model.special("sep")
    if separator is None:
        raise ModelFileError(f"{header.path}: its vocabulary names no sep token")
    return _Reading(token_types=TokenTypeEmbedder(header, separator))


def _measure(header: Header, verdict: Verdict, model: binding.LlamaModel) -> Similarity:
    if verdict.family == "late-interaction":
        special = {model.special(name) for name in ("bos", "eos", "sep")}
        return LateInteraction(header, model.width, frozenset(special - {None}))  # type: ignore[arg-type]
    pooling = header.of_architecture("pooling_type")
    return Cosine(pooling if isinstance(pooling, int) and pooling else MEAN)


def _calibrate(
    measure: Cosine, header: Header, model: binding.LlamaModel, backend: Backend
) -> None:
    """Fit a model's scale to questions with their answers, and with others' answers."""
    layout = layout_for("embedding", header, model)
    most = backend.limits.pair_tokens - len(layout.document_prefix) - len(layout.suffix)
    answers = [layout.document(answer)[:most] for _, answer in RELATED]
    rows = tuple(np.concatenate((layout.document_prefix, ids, layout.suffix)) for ids in answers)
    cosines: list[list[float]] = []
    for question, _ in RELATED:
        prefix = layout.prefix(layout.query(question), None)[-most:]
        cosines += backend.run([Prompt(prefix, rows)])
    measure.calibrate(np.array(cosines, dtype=np.float32))


def _answers(header: Header, verdict: Verdict, model: binding.LlamaModel) -> tuple[int, int] | None:
    """Return the ids of yes and no if their logits are the score, None if the head has to be read.

    A head that repeats their rows of the output matrix gives the same score, but rank pooling
    computes all the vocabulary's logits besides.
    """
    yes, no = model.tokenize("yes"), model.tokenize("no")
    single = len(yes) == len(no) == 1
    if verdict.readout == "logits" and not single:
        raise ModelFileError("the vocabulary has no single tokens yes and no to read scores from")
    if verdict.readout == "logits" or (single and repeats_output(header, yes[0], no[0])):
        return int(yes[0]), int(no[0])
    return None
