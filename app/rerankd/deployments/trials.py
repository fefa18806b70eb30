"""Remembers which models were being loaded when the process ended, so that no start repeats that.

A model that exhausts the memory or crashes llama.cpp takes the whole server with it. Every step
that runs in this process is therefore marked in the state file while it runs. A mark that the next
start finds means that the process ended within the step: killed, crashed or without power. One such
end may be chance, so the model is tried once more; after the second one it is held back until
somebody asks for another try. A stop in order takes all marks away.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TypeVar

from rerankd import __version__
from rerankd.errors import ModelFailed, StateError
from rerankd.lru import digest_of
from rerankd.settings import MODEL_SETTINGS, Settings, override
from rerankd.store import Spec, Store
from rerankd.threads import WorkerPool

logger = logging.getLogger(__name__)

MOST_DEATHS = 2
"""Ends of the process within a model's load after which it is held back."""

Result = TypeVar("Result")


class Trials:
    """The marks of one process. Its functions wait for the disk, so none but `end` is for a loop.

    Where the state can't be used, models load without a mark.
    """

    def __init__(self, store: Store | None, base: Settings) -> None:
        """Take the settings that deployments override; without a store, nothing is marked."""
        self._store = store
        self._base = base
        self._counted = False
        self._ended = False
        self._lock = threading.Lock()
        self._ending = WorkerPool("end-trials", 1)

    def require_fair(self, spec: Spec) -> None:
        """Raise ModelFailed, with the ways to try again, for a model that is held back."""
        deaths = self._attempt(lambda store: self._deaths(store, spec)) or 0
        if deaths >= MOST_DEATHS:
            raise ModelFailed(
                f"the server ended {deaths} times while it was loading this model, which is held "
                "back now. The file or an option may take too much memory or crash llama.cpp. To "
                f"try again: `rerankd restart {spec.id}`, the console, or POST "
                f"/v1/deployments/{spec.id}/restart"
            )
        if deaths:
            logger.warning(
                "the server ended while it was loading %s, which is tried once more", spec.id
            )

    def allow(self, spec: Spec) -> None:
        """Let a model that is held back be tried once. Raises StateError."""
        if self._store:
            self._store.allow_trial(spec.id, MOST_DEATHS - 1)

    @contextmanager
    def during(self, spec: Spec, *, last: bool = False) -> Iterator[None]:
        """Mark a model while the block runs.

        Its count of deaths starts anew after the `last` step, and after an error: the process has
        outlived it.
        """
        self._mark(spec)
        try:
            yield
        except BaseException:
            self._attempt(lambda store: store.forget_trial(spec.id))
            raise
        if last:
            self._attempt(lambda store: store.forget_trial(spec.id))
        else:
            self._attempt(lambda store: store.end_trial(spec.id))

    def end(self) -> None:
        """Take all marks away: what is still loading isn't to blame for the end of this process."""
        if self._store:
            self._ending.begin(self._end_all)

    def _end_all(self) -> None:
        with self._lock:
            self._ended = True
            self._attempt(lambda store: store.end_trials())

    def _mark(self, spec: Spec) -> None:
        with self._lock:
            if not self._ended:
                self._attempt(lambda store: store.begin_trial(spec.id, self._digest_of(spec)))

    def _deaths(self, store: Store, spec: Spec) -> int:
        with self._lock:
            if not self._counted:
                store.count_deaths()
                self._counted = True
        return store.deaths(spec.id, self._digest_of(spec))

    def _digest_of(self, spec: Spec) -> bytes:
        """Return a digest of all that a load depends on but the machine and the file's bytes."""
        own = override(self._base, spec.options)
        values = [(name, getattr(own, name)) for name in sorted(MODEL_SETTINGS)]
        return digest_of(spec.source, __version__, version("llama-cpp-python"), repr(values))

    def _attempt(self, work: Callable[[Store], Result]) -> Result | None:
        try:
            return work(self._store) if self._store else None
        except StateError as error:
            logger.warning("%s; a crash while loading can't be noted", error.message)
            return None
