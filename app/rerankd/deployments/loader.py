"""The slow steps of a deployment: download, judge, load-check in a child, load."""

from __future__ import annotations

import asyncio
import logging
import threading
from importlib.metadata import version

import msgspec

from rerankd import settings
from rerankd.deployments import load_check
from rerankd.deployments.identity import projector_state, readout_of
from rerankd.deployments.kept_calibrations import find_calibration
from rerankd.deployments.runtime import Opener, Runtime, fastest, may_convert, open_runtime
from rerankd.deployments.target import Target, examine
from rerankd.deployments.trials import Trials
from rerankd.domain import Observer
from rerankd.engine import memory_needed, open_engine
from rerankd.errors import ModelFileError, StateError
from rerankd.lru import digest_of
from rerankd.settings import Settings
from rerankd.sources import resolve as sources
from rerankd.sources.downloads import OnDownload
from rerankd.sources.gguf import parts_state
from rerankd.sources.hub.meter import DownloadProgress
from rerankd.sources.resolve import ResolvedModel
from rerankd.store import Spec, Store
from rerankd.threads import WorkerPool

logger = logging.getLogger(__name__)

UNPROVEN_SUFFIX = "/unproven"
"""Ends what is remembered of a check that found a file unproven."""
DOWNLOADS_AT_ONCE = 8
"""Downloads that run together; further ones wait for their turn."""


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
        # By kind, so that none waits for another: slow downloads never hold up a local file.
        self._downloading = WorkerPool("download", DOWNLOADS_AT_ONCE)
        self._finding = WorkerPool("find-model", 4)
        self._examining = WorkerPool("examine-model", 2)
        self._converting = WorkerPool("convert-weights", 1)
        self._loading = WorkerPool("load-model", 1)
        self._remembering = WorkerPool("remember-checks", 1)
        self._trials = Trials(store, base)

    async def download(self, spec: Spec, on_progress: OnDownload) -> ResolvedModel:
        """Find the file, or download it; `on_progress` is called on the event loop.

        Raises ModelFailed for a model that is held back because it ended the server before.
        """
        await self._remembering.run(self._trials.require_fair, spec)
        loop = asyncio.get_running_loop()

        def on_thread(progress: DownloadProgress) -> None:
            loop.call_soon_threadsafe(on_progress, progress)

        stop = threading.Event()
        try:
            own = settings.override(self._base, spec.options)
            is_here = await self._finding.run(_is_local, spec.source, own)
            pool = self._finding if is_here else self._downloading
            return await pool.run(sources.resolve_model, spec.source, own, on_thread, stop)
        finally:
            stop.set()  # when the deployment is stopped, the thread still runs

    async def verify(self, spec: Spec, resolved: ResolvedModel) -> tuple[Target, int]:
        """Judge the file, and load-check it unless this machine has done so before."""
        own = settings.override(self._base, spec.options)
        target = await self._examining.run(self._examined, spec, resolved, own)
        target = await self._checked(resolved, target, own)
        target = await self._converting.run(self._converted, spec, target)
        needed = memory_needed(target.header, target.verdict, target.settings, target.mmproj)
        return target, needed.total

    async def _checked(self, resolved: ResolvedModel, target: Target, own: Settings) -> Target:
        """Return a target that passed its load check, now or on this machine before."""
        check = check_of(target)
        if sources.is_embedded(resolved) or await self._is_known(resolved, check):
            return target
        unproven = check + UNPROVEN_SUFFIX
        if not (own.accept_unproven and await self._is_known(resolved, unproven)):
            result = await load_check.check_in_child(resolved.path, own, resolved.known_as)
            load_check.require_proven(resolved.path, result, own)
            await self._remember_check(resolved, check if result.proven else unproven)
            if result.proven:
                return target
            logger.warning("%s is served unproven: %s", target.id, result.judgement)
        return msgspec.structs.replace(target, unproven=True)

    async def _is_known(self, resolved: ResolvedModel, check: str) -> bool:
        """Return whether a file had this outcome of its load check here before."""
        try:
            return self._store is not None and await self._remembering.run(
                self._store.is_checked, resolved.path, check
            )
        except StateError as error:
            logger.warning("%s; the file is checked again", error.message)
            return False

    async def _remember_check(self, resolved: ResolvedModel, check: str) -> None:
        """Spare the next start the check; where that can't be stored, it is repeated."""
        try:
            if self._store:
                await self._remembering.run(self._store.set_checked, resolved.path, check)
        except StateError as error:
            logger.warning("%s; the file will be checked again at the next start", error.message)

    async def load(self, spec: Spec, target: Target) -> Runtime:
        """Open the model."""
        return await self._loading.run(self._opened, spec, target)

    async def allow(self, spec: Spec) -> None:
        """Let a model be tried again that is held back. Raises StateError."""
        await self._remembering.run(self._trials.allow, spec)

    def end_trials(self) -> None:
        """Blame no model for the end of this process, which is about to stop in order."""
        self._trials.end()

    # On threads, each step marked while it runs: it may end the process.

    def _examined(self, spec: Spec, resolved: ResolvedModel, own: Settings) -> Target:
        with self._trials.during(spec):
            target = examine(spec.id, resolved.path, resolved.manifest, own)
            return msgspec.structs.replace(target, calibration=find_calibration(target))

    def _converted(self, spec: Spec, target: Target) -> Target:
        if not may_convert(target):  # a mark takes a disk's time, twice
            return fastest(target)
        with self._trials.during(spec):
            return fastest(target)

    def _opened(self, spec: Spec, target: Target) -> Runtime:
        with self._trials.during(spec, last=True):
            return open_runtime(target, self._opener, self._observer)


def _is_local(source: str, own: Settings) -> bool:
    settings.require_fits_cores(own)  # it reads the control groups' files
    return sources.is_local(source, own)


def check_of(target: Target) -> str:
    """Return what a load check holds for besides the file: engine, check, other parts, prompt."""
    projector = projector_state(target)
    parts = (*parts_state(target.header), *readout_of(target), *projector)
    checked = f"{version('llama-cpp-python')}/{load_check.CHECKS}"
    return f"{checked}/{digest_of(repr(parts)).hex()}" if parts else checked


def require_known(spec: Spec, base: Settings) -> None:
    """Raise what is wrong with a deployment's source and options before anything starts."""
    own = settings.override(base, spec.options)
    settings.require_fits_cores(own)
    sources.require_known_family(own)
    if not spec.source:
        raise ModelFileError(
            "a deployment needs a model: a catalog id, a path or hf:owner/repo:file.gguf"
        )
