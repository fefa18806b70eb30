"""One download: ask the Hub, check for room, receive, verify, put into the cache."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import huggingface_hub
from huggingface_hub import constants, errors
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from rerankd.errors import DownloadError
from rerankd.sources.hub import cache
from rerankd.sources.hub.client import quieten_client
from rerankd.sources.hub.description import COMMIT_PATTERN, HubFile, describe_remote
from rerankd.sources.hub.errors import asking, translated
from rerankd.sources.hub.meter import Meter
from rerankd.sources.hub.reference import RemoteFile

logger = logging.getLogger(__name__)

DOWNLOAD_CHUNK = 256 * 1024
"""Bytes the client hands on at a time. With its own 10 MB, a connection that breaks more often
than that never gets on, and progress stands still for seconds."""
SPARE_DISK_BYTES = 256 * 1024 * 1024
"""Bytes that a download leaves free on the cache's disk."""


def fetch_files(wanted: Sequence[RemoteFile], meter: Meter) -> Path:
    """Return the first file's path once all are in the cache and verified.

    Raises DownloadError, or Abandoned when nobody waits any more.
    """
    quieten_client()
    found = [_cached_or_remote(file, meter) for file in wanted]
    missing_files = [one for one in found if isinstance(one, HubFile)]
    _require_room(missing_files)
    placed = _fetch_all(missing_files, meter)
    paths = [placed[one.file] if isinstance(one, HubFile) else one for one in found]
    for file, path in zip(wanted, paths, strict=True):
        with translated(file), _verifying(file.file, path, meter):
            cache.verify(file, path, meter.advance)
    return paths[0]


def _cached_or_remote(file: RemoteFile, meter: Meter) -> Path | HubFile:
    """Return a file's path if the cache has the right one, else what the Hub says of it.

    A commit can't change, so the Hub isn't asked about its files. Of other revisions the cached
    file serves while the Hub doesn't answer, unless it says that the file is gone.
    """
    meter.check()
    cached = cache.cached_path(file)
    if cached and COMMIT_PATTERN.fullmatch(file.revision or ""):
        return cached
    try:
        with asking(file):
            remote = describe_remote(file, retry=cached is None)
    except DownloadError as error:
        gone = (errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError)
        if cached is None or isinstance(error.__cause__, gone):
            raise
        logger.warning("%s; using the cached file", error.message)
        return cached
    finally:
        meter.alive()
    if cached and cache.blob_of(cached).name == remote.etag:
        return cached
    _require_agreement(remote)
    return remote


def _require_agreement(remote: HubFile) -> None:
    """Raise DownloadError where the Hub has another file than the manifest means."""
    file = remote.file
    if file.bytes not in {None, remote.bytes}:
        raise DownloadError(f"{file}: the Hub has {remote.bytes} bytes, expected {file.bytes}")
    if cache.SHA256.fullmatch(remote.etag) and remote.sha256 != remote.etag:
        raise DownloadError(cache.wrong_hash(file, remote.etag, remote.sha256))


def _require_room(missing_files: Sequence[HubFile]) -> None:
    """Raise DownloadError with both numbers if the cache's disk is too full."""
    missing = sum(one.missing for one in missing_files)
    if not missing:
        return
    folder = cache.cache_root()
    exists = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(exists).free
    if free < missing + SPARE_DISK_BYTES:
        raise DownloadError(
            f"{missing_files[0].file}: {missing:,} bytes to download and "
            f"{SPARE_DISK_BYTES:,} to keep free, but {folder} has {free:,} left; "
            "free some space, or set HF_HOME"
        )


def _fetch_all(missing_files: Sequence[HubFile], meter: Meter) -> dict[RemoteFile, Path]:
    """Download files, one after the other, and return the paths of their links."""
    total = sum(one.bytes for one in missing_files)
    paths = {}
    before = 0
    for one in missing_files:
        meter.begin("downloading", one.file.file, total=total, done=before)
        with translated(one.file):
            paths[one.file] = _fetch_one(one, meter, before, last=one is missing_files[-1])
        before += one.bytes
    return paths


def _fetch_one(remote: HubFile, meter: Meter, before: int, *, last: bool) -> Path:
    """Download a file and return the path of its link; `before`: bytes of the files before it."""
    with _locked(remote, meter, before):
        if not remote.blob.exists():
            _receive_missing(remote, meter, before)
            _check_received(remote, meter, last=last)
            remote.partial.replace(remote.blob)
    # The blob is there, so the client only writes the link and the reference.
    file = remote.file
    linked = huggingface_hub.hf_hub_download(file.repo, file.file, revision=file.revision)
    return Path(linked)


@contextmanager
def _locked(remote: HubFile, meter: Meter, before: int) -> Iterator[None]:
    """Hold the client's lock of a blob; until it is free, count what its holder has received."""
    remote.blob.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(cache.locked(remote.file.repo, remote.etag))
                break
            except TimeoutError:
                meter.alive()
                meter.at(remote.file.file, before + remote.bytes - remote.missing)
        yield


def _receive_missing(remote: HubFile, meter: Meter, before: int) -> None:
    """Receive what is missing of a file into its partial file, and sync it to disk."""
    constants.DOWNLOAD_CHUNK_SIZE = DOWNLOAD_CHUNK
    file = remote.file
    with remote.partial.open("ab") as content:
        if content.tell() > remote.bytes:
            content.truncate(0)
            content.seek(0)
        meter.at(file.file, before + content.tell())
        if content.tell() < remote.bytes:
            bar = _ByteCounter(meter, remote, content)
            http_get(
                # By commit, so that what comes is what was asked about.
                huggingface_hub.hf_hub_url(file.repo, file.file, revision=remote.commit),
                cast("BinaryIO", content),
                resume_size=content.tell(),
                headers={**build_hf_headers(), "Accept-Encoding": "identity"},
                displayed_filename=file.file,
                tqdm_class=cast("Any", bar),
            )
        content.flush()
        os.fsync(content.fileno())


class _ByteCounter:
    """Passes for the client's progress bar: counts bytes, stops a file larger than announced."""

    def __init__(self, meter: Meter, remote: HubFile, content: BufferedWriter) -> None:
        self._meter, self._remote, self._content = meter, remote, content
        self._here = content.tell()

    def __call__(self, **options: Any) -> Self:
        # A Hub that can't resume sends everything again; `initial` is where the client starts.
        initial = options.get("initial") or 0
        self._meter.advance(initial - self._here)
        self._here = initial
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, count: int) -> None:
        self._here += count
        if self._here > self._remote.bytes:
            self._remote.partial.unlink(missing_ok=True)
            raise DownloadError(
                f"{self._remote.file}: received at least {self._here} bytes, "
                f"expected {self._remote.bytes}"
            )
        # Flushed, so that other processes see how far it is and a kill loses one chunk only.
        self._content.flush()
        self._meter.advance(count)


def _check_received(remote: HubFile, meter: Meter, *, last: bool) -> None:
    """Delete what came and raise DownloadError with both values if it isn't what was announced."""
    file, partial = remote.file, remote.partial
    have = partial.stat()
    if have.st_size != remote.bytes:
        partial.unlink()
        raise DownloadError(f"{file}: received {have.st_size} bytes, expected {remote.bytes}")
    found = _sha256_of_partial(remote, meter, last=last)
    if remote.sha256 not in {None, found}:
        partial.unlink()
        raise DownloadError(cache.wrong_hash(file, found, remote.sha256))
    if remote.sha256 is None:
        logger.warning("%s: its sha256 is unknown, so only its size is checked", file)
    stamp = cache.VerifiedStamp(have.st_size, have.st_mtime_ns, found)
    cache.write_stamp(file, remote.blob.name, stamp)


def _sha256_of_partial(remote: HubFile, meter: Meter, *, last: bool) -> str:
    # Between parts the stage stays, so that it never goes back from verifying to downloading.
    if not last:
        return cache.sha256_of(remote.partial, lambda _count: meter.alive())
    with _verifying(remote.file.file, remote.partial, meter):
        return cache.sha256_of(remote.partial, meter.advance)


@contextmanager
def _verifying(file: str, path: Path, meter: Meter) -> Iterator[None]:
    """Make the reading of a file its own stage, which ends complete even if nothing was read."""
    size = path.stat().st_size
    meter.begin("verifying", file, total=size)
    yield
    meter.begin("verifying", file, total=size, done=size)
