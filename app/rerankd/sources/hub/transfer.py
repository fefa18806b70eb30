"""Downloads: one a set of files however many wait for it, resumed, bounded, verified.

The Hub's client does what concerns the Hub: metadata, requests, tokens, redirects, going on after
a lost connection, locks, the cache's layout. Its own `hf_hub_download` throws a part of a file
away when the process ends or the connection stays lost, and links a file before anybody could
look at it. So a file is received here, with the client's `http_get`, into `<etag>.incomplete`
that outlives the process, verified, and only then named as the cache names it;
`hf_hub_download` finds it there and links it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path

from rerankd.errors import DownloadError, RerankdError
from rerankd.sources.hub.file_download import deliver
from rerankd.sources.hub.meter import Abandoned, Meter
from rerankd.sources.hub.reference import Progress, RemoteFile

logger = logging.getLogger(__name__)

REPORT_SECONDS = 0.2
"""Between two reports of progress, and until a stop is noticed."""
STALL_SECONDS = 180.0
"""Without a byte for so long nobody waits on; the client's own read timeout is far shorter."""
MOST_FILES = 200
MOST_DOWNLOADS = 16
"""Downloads that run at a time."""


class _Download:
    """One running download and how many wait for it."""

    def __init__(self, files: tuple[RemoteFile, ...]) -> None:
        self.files = files
        self.meter = Meter()
        self.result: Future[Path] = Future()
        self.waiting = 0


_running: dict[tuple[RemoteFile, ...], _Download] = {}
_lock = threading.Lock()


def download(
    files: Sequence[RemoteFile],
    *,
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Path:
    """Return the path of the first file, all of them downloaded and verified.

    Raises DownloadError: one line that says why, or that `stop` was set.
    """
    wanted = tuple(files)
    if not 1 <= len(wanted) <= MOST_FILES:
        raise DownloadError(f"{len(wanted)} files instead of 1 to {MOST_FILES}")
    while True:
        joined = _join(wanted)
        try:
            return _attend(joined, on_progress or _ignore, stop or threading.Event())
        except Abandoned:
            # It was ending when we joined, since all others had left: it starts again.
            logger.debug("%s: starting again", wanted[0])
        finally:
            _leave(joined)


def require_idle(files: Sequence[RemoteFile]) -> None:
    """Raise DownloadError if one of the files is being downloaded by this process."""
    named = {(file.repo, file.file) for file in files}
    with _lock:
        busy = [file for key in _running for file in key if (file.repo, file.file) in named]
    if busy:
        raise DownloadError(f"{busy[0]} is being downloaded")


def _ignore(_progress: Progress) -> None: ...


def _join(files: tuple[RemoteFile, ...]) -> _Download:
    """Return the running download of these files, or start one."""
    with _lock:
        found = _running.get(files)
        if found is None:
            if len(_running) >= MOST_DOWNLOADS:
                raise DownloadError(f"{len(_running)} downloads are running; try again later")
            found = _running[files] = _Download(files)
            # A daemon: the process may end at any time, since what has arrived is kept.
            threading.Thread(target=_run, args=(found,), name="download", daemon=True).start()
        found.waiting += 1
        found.meter.revive()
        return found


def _leave(joined: _Download) -> None:
    with _lock:
        joined.waiting -= 1
        if not joined.waiting:
            joined.meter.abandon()


def _attend(
    joined: _Download, on_progress: Callable[[Progress], None], stop: threading.Event
) -> Path:
    """Report progress until the download ends or its caller has enough."""
    while not wait([joined.result], timeout=REPORT_SECONDS).done:
        on_progress(joined.meter.progress)
        if stop.is_set():
            raise DownloadError(f"{joined.files[0]}: the download was stopped")
        if joined.meter.idle_seconds > STALL_SECONDS:
            raise DownloadError(f"{joined.files[0]}: no data came for {STALL_SECONDS:g} s")
    try:
        path = joined.result.result()
    except RerankdError as error:
        # Several may wait for the same error: each raises its own.
        raise DownloadError(error.message, retry_after=error.retry_after) from error
    on_progress(joined.meter.progress)
    return path


def _run(job: _Download) -> None:
    """Do the work in a thread of its own; whatever happens is told to those who wait."""
    try:
        outcome: Path | BaseException = deliver(job.files, job.meter)
    except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
        outcome = error
    with _lock:
        _running.pop(job.files, None)
    if isinstance(outcome, BaseException):
        job.result.set_exception(outcome)
    else:
        job.result.set_result(outcome)
