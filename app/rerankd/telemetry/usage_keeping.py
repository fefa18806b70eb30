"""Keeps usage in the state folder: read once at the start, added to every minute and at the end."""

from __future__ import annotations

import logging
import threading

from rerankd.errors import StateError
from rerankd.store import UsageStore
from rerankd.telemetry.usage import Usage

logger = logging.getLogger(__name__)

SAVE_SECONDS = 60.0
"""What a server that is killed forgets at most."""


class UsageKeeper:
    """A thread that moves counts between memory and a file, so that no request waits for a disk."""

    def __init__(self, usage: Usage, store: UsageStore, seconds: float = SAVE_SECONDS) -> None:
        self._usage = usage
        self._store = store
        self._seconds = seconds
        self._ending = threading.Event()
        self._failing = False
        usage.begin_saving()  # before the thread has read what was saved: requests come meanwhile
        # A daemon: what is not saved yet must not hold up the end of a process that is killed.
        self._thread = threading.Thread(target=self._keep, name="keep-usage", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Save what is counted, and end."""
        self._ending.set()
        self._thread.join()

    def _keep(self) -> None:
        try:
            self._usage.include(self._store.load())
        except StateError as error:
            self._report(error)
        while not self._ending.wait(self._seconds):
            self._save()
        self._save()

    def _save(self) -> None:
        counted = self._usage.take_unsaved()
        if not counted:
            return
        try:
            self._store.add(counted.items(), self._usage.expired())
            self._failing = False
        except StateError as error:
            self._usage.give_back_unsaved(counted)
            self._report(error)

    def _report(self, error: StateError) -> None:
        if not self._failing:
            self._failing = True
            logger.warning("%s; usage is counted, but not kept over a restart", error.message)
