"""The Hub's files on this machine: download them, find them, remove them.

The Hub's client does what concerns the Hub: metadata, requests, tokens, redirects, resuming after
a lost connection, locks, the cache's layout. Its own `hf_hub_download` throws a partial file away
when the process ends or the connection stays lost, and links a file before anybody could verify
it. So `fetch` writes a file with the client's `http_get` into `<etag>.incomplete`, which outlives
the process, verifies it, and only then gives it its name in the cache; `hf_hub_download` finds it
there and links it.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from pathlib import Path

from rerankd.errors import DownloadError, RerankdError
from rerankd.sources.hub import cache
from rerankd.sources.hub.fetch import fetch_files
from rerankd.sources.hub.listing import resolve_cached_files, resolve_files
from rerankd.sources.hub.meter import Abandoned, FileProgress, Meter, OnFileProgress
from rerankd.sources.hub.reference import MOST_SPLITS, Reference, RemoteFile, is_projector_name

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.2
"""Between two reports of progress, and at most until a stop is noticed."""
STALL_SECONDS = 180.0
"""Without a byte for this long a caller gives up; the client's own read timeout is far shorter."""
MOST_DOWNLOADS = 16
"""Downloads that run at a time."""
LAST_SECONDS = 0.5
"""What downloads have to end in when the interpreter does."""


class _Download:
    """One running download, its outcome, and how many callers wait for it."""

    def __init__(self, files: tuple[RemoteFile, ...]) -> None:
        self.files = files
        self.meter = Meter()
        self.outcome: Future[Path] = Future()
        self.waiting = 0
        # A daemon: the process may end at any time, since what has arrived is kept.
        self.thread = threading.Thread(target=_work, args=(self,), name="download", daemon=True)


_downloads: dict[tuple[RemoteFile, ...], _Download] = {}
_downloads_lock = threading.Lock()


def download(
    wanted: Reference | Sequence[RemoteFile],
    *,
    on_progress: OnFileProgress | None = None,
    stop: threading.Event | None = None,
) -> Path:
    """Return the path of a model's first file, with all its files downloaded and verified.

    Calls for the same files share one download. `on_progress` is called in this thread, some
    times a second and at the end. Once `stop` is set, this raises within a second; what has
    arrived is kept for the next try. Raises DownloadError: one line that says why.
    """
    files = resolve_files(wanted) if isinstance(wanted, Reference) else tuple(wanted)
    if not 1 <= len(files) <= MOST_SPLITS:
        raise DownloadError(f"{len(files)} files, expected 1 to {MOST_SPLITS}")
    while True:
        joined = _join(files)
        try:
            return _await(joined, on_progress or _ignore, stop or threading.Event())
        except Abandoned:
            # All others had left and it was ending when we joined it.
            logger.debug("%s: starting over", files[0])
        finally:
            _leave(joined)


def find_installed(wanted: Reference | Sequence[RemoteFile]) -> Path | None:
    """Return the path of a model's first file if all are here and verified, without the network.

    A file that something else put into the cache counts once `download` has verified it.
    """
    try:
        files = resolve_cached_files(wanted) if isinstance(wanted, Reference) else wanted
        return cache.verified_path(files)
    except DownloadError:
        # A quantization that no cached file has, or a name that can't exist.
        return None


def remove(wanted: Reference | Sequence[RemoteFile]) -> int:
    """Delete a model's files from the cache, with all their revisions; return the bytes freed.

    Raises DownloadError while one is being downloaded, and where a quantization means several
    of the cached files or none.
    """
    files = resolve_cached_files(wanted) if isinstance(wanted, Reference) else wanted
    named = {(file.repo, file.file) for file in files}
    with _downloads_lock:
        busy = [file for key in _downloads for file in key if (file.repo, file.file) in named]
    if busy:
        raise DownloadError(f"{busy[0]} is being downloaded")
    return cache.delete_files(files)


def remove_model(reference: Reference) -> int:
    """Delete a model as `remove` does, and with a repository's last one its projectors."""
    freed = remove(reference)
    left = cache.cached_names(reference.repo, reference.revision)
    if freed and left and all(map(is_projector_name, left)):
        freed += remove([RemoteFile(reference.repo, name, reference.revision) for name in left])
    return freed


@atexit.register
def end_downloads() -> None:
    """Give downloads a moment to end: in the middle of TLS they crash when OpenSSL is taken down.

    A download that waits for the network longer than that is not in the middle of anything.
    """
    left = list(_downloads.values())  # without the lock, which a forked child may have inherited
    latest = time.monotonic() + LAST_SECONDS
    for one in left:
        one.meter.abandon()
        one.thread.join(max(0.0, latest - time.monotonic()))


def _ignore(_progress: FileProgress) -> None: ...


def _join(files: tuple[RemoteFile, ...]) -> _Download:
    """Return the running download of these files, or start one."""
    with _downloads_lock:
        found = _downloads.get(files)
        if found is None:
            if len(_downloads) >= MOST_DOWNLOADS:
                raise DownloadError(
                    f"{len(_downloads)} downloads are already running; try again later"
                )
            found = _downloads[files] = _Download(files)
            found.thread.start()
        found.waiting += 1
        found.meter.revive()
        return found


def _leave(joined: _Download) -> None:
    with _downloads_lock:
        joined.waiting -= 1
        if not joined.waiting:
            joined.meter.abandon()


def _await(joined: _Download, on_progress: OnFileProgress, stop: threading.Event) -> Path:
    """Report progress until the download ends or its caller stops it."""
    while not wait([joined.outcome], timeout=PROGRESS_SECONDS).done:
        on_progress(joined.meter.progress)
        if stop.is_set():
            raise DownloadError(f"{joined.files[0]}: the download was stopped")
        if joined.meter.idle_seconds > STALL_SECONDS:
            raise DownloadError(f"{joined.files[0]}: no data arrived for {STALL_SECONDS:g} s")
    try:
        path = joined.outcome.result()
    except RerankdError as error:
        # Several callers may wait for the same error: each raises its own.
        raise DownloadError(error.message, retry_after=error.retry_after) from error
    on_progress(joined.meter.progress)
    return path


def _work(job: _Download) -> None:
    """Download in a thread of its own; whatever happens is handed to the callers that wait."""
    try:
        outcome: Path | BaseException = fetch_files(job.files, job.meter)
    except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
        outcome = error
    with _downloads_lock:
        _downloads.pop(job.files, None)
    if isinstance(outcome, BaseException):
        job.outcome.set_exception(outcome)
    else:
        job.outcome.set_result(outcome)
