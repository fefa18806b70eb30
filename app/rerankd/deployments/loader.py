"""The slow steps of a deployment: download, judge, load-check in a child, load."""

from __future__ import annotations

import asyncio
import logging
import threading
from importlib.metadata import version

from rerankd import settings
from rerankd.deployments import load_check
from rerankd.deployments.runtime import Opener, Runtime, Target, examine, fastest, open_runtime
from rerankd.domain import Observer, StepLimits
from rerankd.engine import open_engine
from rerankd.engine.planning.sizing import Sizes, plan
from rerankd.errors import ModelFileError, StateError
from rerankd.machine import available_cores
from rerankd.settings import Settings
from rerankd.sources import resolve as sources
from rerankd.sources.gguf import Header
from rerankd.sources.hub.meter import DownloadProgress
from rerankd.sources.resolve import OnDownload, ResolvedModel
from rerankd.store import Spec, Store

logger = logging.getLogger(__name__)

HEAD_BYTES = 2
"""Bytes of a KV cache entry: F16, the largest type but F32."""


class FileLoader:
    """A `deployments.Loader` over the catalog, the Hub, the disk and llama.cpp."""

    def __init__(
        self,
        base: Settings,
        store: Store | None,
        opener: Opener = open_engine,
        observer: Observer | None = None,
    ) -> None:
        """Take the settings that deployments override, and the store that remembers load checks."""
        self._base = base
        self._store = store
        self._opener = opener
        self._observer = observer

    async def download(self, spec: Spec, on_progress: OnDownload) -> ResolvedModel:
        """Find the file, or download it; `on_progress` is called on the event loop."""
        loop = asyncio.get_running_loop()

        def on_thread(progress: DownloadProgress) -> None:
            loop.call_soon_threadsafe(on_progress, progress)

        stop = threading.Event()
        try:
            return await asyncio.to_thread(
                sources.resolve_model, spec.source, self._base, on_thread, stop
            )
        finally:
            stop.set()  # when the deployment is stopped, the thread still runs

    async def verify(self, spec: Spec, resolved: ResolvedModel) -> tuple[Target, int]:
        """Judge the file, and load-check it unless this machine has done so before."""
        own = settings.override(self._base, spec.options)
        target = await asyncio.to_thread(examine, spec.id, resolved.path, resolved.manifest, own)
        if not self._is_trusted(resolved):
            await load_check.check_in_child(resolved.path, own, resolved.known_as)
            self._remember_check(resolved)
        target = await asyncio.to_thread(fastest, target)
        return target, memory_needed(target, target.settings)

    def _is_trusted(self, resolved: ResolvedModel) -> bool:
        """Tell whether a file is the embedded one or passed its load check here before."""
        if sources.is_embedded(resolved):
            return True
        try:
            return bool(self._store and self._store.is_checked(resolved.path, engine_version()))
        except StateError as error:
            logger.warning("%s; the file is checked again", error.message)
            return False

    def _remember_check(self, resolved: ResolvedModel) -> None:
        """Spare the next start the check; where that can't be stored, it is repeated."""
        try:
            if self._store:
                self._store.set_checked(resolved.path, engine_version())
        except StateError as error:
            logger.warning("%s; the file will be checked again at the next start", error.message)

    async def load(self, spec: Spec, target: Target) -> Runtime:
        """Open the model."""
        del spec
        return await asyncio.to_thread(open_runtime, target, self._opener, self._observer)


def engine_version() -> str:
    """Return the version of the engine, for which a load check holds."""
    return version("llama-cpp-python")


def memory_needed(target: Target, own: Settings) -> int:
    """Return the bytes a model will take: weights, caches and buffers of all workers."""
    sizes = plan(target.header, target.verdict, own, cores=own.cores or available_cores())
    each = _cache_bytes(target.header, sizes.limits) + _buffer_bytes(target.header, sizes)
    return target.header.file_bytes + sizes.workers * each


def _cache_bytes(header: Header, limits: StepLimits) -> int:
    """KV cache of a causal model: two vectors a layer, cell and KV head; encoders have none."""
    if header.of_architecture("attention.causal") is False or not limits.cells:
        return 0
    heads = header.integer("attention.head_count_kv")
    width = header.integer("attention.key_length")
    return 2 * header.integer("block_count") * heads * width * limits.cells * HEAD_BYTES


def _buffer_bytes(header: Header, sizes: Sizes) -> int:
    """Activations of the largest batch (about 15 floats a token and channel) and its outputs."""
    activations = 15 * 4 * header.integer("embedding_length") * sizes.batch
    return activations + header.vocabulary * 4 * min(sizes.limits.step_tokens, sizes.batch)


def require_known(spec: Spec, base: Settings) -> None:
    """Raise what is wrong with a deployment's source and options before anything starts."""
    settings.override(base, spec.options)
    if not spec.source:
        raise ModelFileError("a deployment needs a model: a catalog id, a path or hf:…")
