"""An event loop in a thread of its own, for callers that have none or have another one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")
Report = Callable[[int, int], None]
"""Takes what is done and what there is in all."""
Work = Callable[[Report], Coroutine[Any, Any, Result]]
"""Makes the coroutine to run on the loop, given what it reports its progress to."""


class BackgroundLoop:
    """Runs coroutines for any thread, and for any other event loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        # A program that forgets to close what it opened must still end.
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Work[Result], on_progress: Report | None = None) -> Result:
        """Run work and wait for it; `on_progress` is called in this thread.

        An exception here, KeyboardInterrupt among them, cancels the work.
        """
        events: SimpleQueue[tuple[int, int] | None] = SimpleQueue()
        future = self._submit(work(lambda done, total: events.put((done, total))))
        future.add_done_callback(lambda _: events.put(None))
        try:
            while (event := events.get()) is not None:
                if on_progress:
                    on_progress(*event)
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def run_async(self, work: Work[Result], on_progress: Report | None = None) -> Result:
        """Run work and await it; `on_progress` is called on the caller's loop.

        What it raises cancels the work, and is raised here.
        """
        callers = asyncio.get_running_loop()
        failures: list[BaseException] = []

        def call(done: int, total: int) -> None:
            try:
                if on_progress and not failures:
                    on_progress(done, total)
            except BaseException as error:  # noqa: BLE001 - raised below, to who awaits
                failures.append(error)
                future.cancel()

        def report(done: int, total: int) -> None:
            callers.call_soon_threadsafe(call, done, total)

        future = asyncio.wrap_future(self._submit(work(report)))
        try:
            return await future
        except asyncio.CancelledError:
            if failures:
                raise failures[0] from None
            raise

    def close(self) -> None:
        """Cancel what runs, stop the loop once that has ended, and wait for its thread."""
        asyncio.run_coroutine_threadsafe(_end_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _submit(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)


async def _end_others() -> None:
    """Cancel all other tasks of this loop and wait until they have cleaned up after themselves."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for one in others:
        one.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
