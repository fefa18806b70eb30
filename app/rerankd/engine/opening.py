"""Opening a model: weights, contexts and tokenizer, ready to score."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from rerankd.domain import Backend, Prompt
from rerankd.engine.backends.embedding import VectorStore
from rerankd.engine.llama import binding, ggml, mtmd
from rerankd.engine.llama.context import ContextOptions, LlamaContext
from rerankd.engine.llama.projector import Projector, ProjectorOptions
from rerankd.engine.picture_encoder import PictureEncoder, PictureGrid
from rerankd.engine.planning.devices import Offload, plan_steps
from rerankd.engine.planning.memory import memory_of, projector_memory
from rerankd.engine.planning.pictures import picture_format
from rerankd.engine.planning.sizing import Sizes
from rerankd.engine.readers import ScoreReader, reader_for
from rerankd.errors import OutOfMemory, SettingsError
from rerankd.families.header import Header
from rerankd.families.memory import ModelMemory
from rerankd.families.picture_cost import EncodingCost
from rerankd.families.prompt_format import PictureFormat
from rerankd.machine import available_cores, available_memory, free_swap
from rerankd.settings import Settings, require_fits_cores
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Readout, Verdict, family_of

logger = logging.getLogger(__name__)

NO_MTMD = (
    "this build of llama.cpp has no library for pictures (libmtmd); docs/builds.md says how to get"
    " one that has it"
)


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
        encoder: PictureEncoder | None = None,
        pictures: PictureFormat | None = None,
    ) -> None:
        """`store` is where an embedding model's vectors are kept.

        `encoder` encodes pictures that look as `pictures` says; neither is there for a model that
        reads text only.
        """
        self.tokenizer = model
        self.backends = tuple(backends)
        self.sizes = sizes
        self.offload = offload
        self.gpu_layers = offload.layers
        self.readout = readout
        self._model = model
        self.pictures = pictures
        self._store = store
        self._encoder = encoder

    def costs(self, prompt: Prompt) -> tuple[int, ...]:
        """Return `domain.Prompt.costs` of a prompt, by what is known of its texts and pictures."""
        if self._encoder:
            return self._encoder.costs(prompt)
        return self._store.costs(prompt) if self._store else ()

    def close(self) -> None:
        """Free all contexts and the weights; no backend may be running."""
        for backend in self.backends:
            backend.close()
        if self._encoder:
            self._encoder.close()
        self._model.close()


def check(header: Header, verdict: Verdict, settings: Settings) -> None:
    """Raise SettingsError when a setting doesn't suit the model or this build; loads nothing."""
    size_and_place(header, verdict, settings)
    picture_format(family_of(header, verdict), settings)
    if settings.kv_type == "q8_0" and settings.flash_attn == "off":
        raise SettingsError("kv_type q8_0 needs flash_attn on", param="kv_type")


def open_engine(
    header: Header, verdict: Verdict, settings: Settings, mmproj: Path | None = None
) -> Engine:
    """Load a model and make its contexts, with `mmproj` the projector that encodes its pictures.

    Raises ModelFileError when llama.cpp refuses the file, SettingsError when a setting doesn't
    suit it or the machine, OutOfMemory when it needs more than is free, EngineFailure when a
    context can't be made.
    """
    require_fits_cores(settings)
    mmproj = usable_projector(header, verdict, mmproj)
    sizes, offload = size_and_place(header, verdict, settings, mmproj)
    require_free_memory(header, verdict, settings, mmproj)
    logger.info("%s: %s", header.path.name, offload.reason)
    model = binding.LlamaModel(header.path, _load_options(verdict, settings, offload))
    backends: list[Backend] = []
    encoder: PictureEncoder | None = None
    look = picture_format(family_of(header, verdict), settings) if mmproj else None
    try:
        if mmproj and look:
            encoder = _open_encoder(mmproj, look, header, model, settings, sizes, offload)
        reader = reader_for(header, verdict, model, settings.vector_cache_bytes, encoder)
        for _ in range(sizes.workers):
            context = LlamaContext(model, _context_options(reader, settings, sizes, offload))
            backends.append(reader.backend(context, sizes))
        if reader.calibrate:
            reader.calibrate(backends[0])
    except BaseException:
        for backend in backends:
            backend.close()
        if encoder:
            encoder.close()
        model.close()
        raise
    return Engine(model, backends, sizes, offload, reader.readout, reader.store, encoder, look)


def usable_projector(header: Header, verdict: Verdict, mmproj: Path | None) -> Path | None:
    """Return the projector that a model's pictures can be encoded with, None for none.

    A family without pictures has no use for it. A build of llama.cpp without its library for
    pictures serves texts, and the log says so.
    """
    if mmproj is None or family_of(header, verdict).pictures is None:
        return None
    if not mtmd.is_built():
        logger.warning("%s reads text only: %s", header.path.name, NO_MTMD)
        return None
    return mmproj


def _open_encoder(  # noqa: PLR0913 - a projector, its model, and how they run
    mmproj: Path,
    look: PictureFormat,
    header: Header,
    model: binding.LlamaModel,
    settings: Settings,
    sizes: Sizes,
    offload: Offload,
) -> PictureEncoder:
    options = ProjectorOptions(
        threads=sizes.threads,
        factor=look.factor,
        device=offload.projector,
        flash_attn=settings.flash_attn,
    )
    return PictureEncoder(
        Projector(mmproj, model, options),
        PictureGrid(look.factor),
        settings.picture_cache_bytes,
        EncodingCost.of(gguf_file.read(mmproj), header),
    )


def size_and_place(
    header: Header, verdict: Verdict, settings: Settings, mmproj: Path | None = None
) -> tuple[Sizes, Offload]:
    """Plan sizes, GPU layers and the projector's place for what this machine has.

    Raises SettingsError when a GPU is asked for that isn't there, ModelFileError when the header
    has no sizes to plan with or the projector can't be read. The first call starts llama.cpp and
    the GPUs' drivers.
    """
    binding.start()
    return plan_steps(
        header,
        verdict,
        settings,
        cores=settings.cores or available_cores(),
        survey=ggml.survey(),
        projector=projector_memory(
            verdict, header, settings, gguf_file.read(mmproj) if mmproj else None
        ),
    )


def memory_needed(
    header: Header, verdict: Verdict, settings: Settings, mmproj: Path | None = None
) -> ModelMemory:
    """Estimate what a model will take with these settings, in memory of the CPU and of GPUs.

    Raises what `size_and_place` raises, and ModelFileError for a projector that can't be read.
    """
    sizes, _ = size_and_place(header, verdict, settings, mmproj)
    return memory_of(
        header,
        verdict,
        sizes,
        settings,
        keeps_outputs=binding.supports_gpu(),
        mmproj=gguf_file.read(mmproj) if mmproj else None,
    )


def require_free_memory(
    header: Header, verdict: Verdict, settings: Settings, mmproj: Path | None = None
) -> None:
    """Raise OutOfMemory, which names both numbers, where a model needs more than is free.

    What goes to GPUs isn't counted, nor mapped weights, which the system can drop again.
    """
    free = available_memory()
    if free is None:
        return
    sizes, offload = size_and_place(header, verdict, settings, mmproj)
    needed = memory_needed(header, verdict, settings, mmproj)
    mapped = needed.weights if settings.mmap else 0
    least = needed.total - needed.vectors - mapped - offload.bytes
    if least > free + free_swap():
        raise OutOfMemory(
            f"{header.path.name} needs about {least} bytes of memory with {sizes.workers} "
            f"worker(s) and a context of {sizes.limits.pair_tokens} tokens, but {free} are free; "
            "use fewer workers, a shorter context or a smaller file"
        )


def _load_options(verdict: Verdict, settings: Settings, offload: Offload) -> binding.LoadOptions:
    return binding.LoadOptions(
        gpu_layers=offload.layers,
        main_gpu=offload.main_gpu,
        split_mode=offload.split_mode,
        tensor_split=offload.tensor_split,
        mmap=settings.mmap,
        mlock=settings.mlock,
        overrides=verdict.overrides,
    )


def _context_options(
    reader: ScoreReader, settings: Settings, sizes: Sizes, offload: Offload
) -> ContextOptions:
    return ContextOptions(
        cells=sizes.limits.cells,
        batch=sizes.batch,
        sequences=sizes.sequences,
        threads=sizes.threads,
        pooling=reader.pooling,
        hidden_states=reader.hidden_states,
        hides_keys=reader.hides_keys,
        flash_attn=offload.flash_attn if offload.layers else settings.flash_attn,
        kv_type=settings.kv_type,
        outputs=sizes.sequences if reader.readout == "logits" else 0,
    )
