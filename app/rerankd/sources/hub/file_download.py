"""One download's work: ask, see that there is room, receive, verify, put into the cache."""

from __future__ import annotations

import logging
import os
import re
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
from msgspec import Struct

from rerankd.errors import DownloadError
from rerankd.sources.hub import cache
from rerankd.sources.hub.errors import translated
from rerankd.sources.hub.meter import Meter
from rerankd.sources.hub.reference import RemoteFile

logger = logging.getLogger(__name__)

CHUNK = 256 * 1024
"""Bytes the client hands on at a time. With its own 10 MB, a connection that breaks more often
than that never gets on, and progress stands still for seconds."""
SPARE = 256 * 1024 * 1024
"""Bytes that a download leaves free on the cache's disk."""
LARGEST = 1 << 42

COMMIT = re.compile(r"[0-9a-f]{40}")
ETAG = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{7,127}")
"""An etag becomes a file's name, so that nothing else may be in it."""


class Source(Struct, frozen=True):
    """A file as the Hub told of it: `etag` is its SHA-256 if it is stored as a large file."""

    file: RemoteFile
    commit: str
    etag: str
    bytes: int

    @property
    def sha256(self) -> str | None:
        """What the bytes must hash to, where anybody said so."""
        own = self.etag if cache.SHA256.fullmatch(self.etag) else None
        return self.file.sha256 or own

    @property
    def blob(self) -> Path:
        return cache.blobs(self.file.repo) / self.etag

    @property
    def partial(self) -> Path:
        return self.blob.with_name(f"{self.etag}.incomplete")

    @property
    def missing(self) -> int:
        """The bytes still to come."""
        if self.blob.exists():
            return 0
        have = self.partial.stat().st_size if self.partial.exists() else 0
        return self.bytes - have if have <= self.bytes else self.bytes


def deliver(wanted: Sequence[RemoteFile], meter: Meter) -> Path:
    """Return the first file's path once all are in the cache and verified.

    Raises DownloadError, or Abandoned when nobody waits any more.
    """
    located = [_locate(file, meter) for file in wanted]
    sources = [one for one in located if isinstance(one, Source)]
    _require_room(sources)
    placed = _place_all(sources, meter)
    paths = [placed[one.file] if isinstance(one, Source) else one for one in located]
    for file, path in zip(wanted, paths, strict=True):
        with translated(file), _verifying(file.file, path, meter):
            cache.verify(file, path, meter.advance)
    return paths[0]


def _locate(file: RemoteFile, meter: Meter) -> Path | Source:
    """Return a file's path if the cache has the right one, else what the Hub says of it.

    A commit can't change, so the Hub isn't asked about its files. Of other revisions the cached
    file serves while the Hub doesn't answer, unless it says that the file is gone.
    """
    meter.check()
    cached = cache.find(file)
    if cached and COMMIT.fullmatch(file.revision or ""):
        return cached
    try:
        with translated(file):
            source = _ask(file, retry=cached is None)
    except DownloadError as error:
        gone = (errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError)
        if cached is None or isinstance(error.__cause__, gone):
            raise
        logger.warning("%s; the cached file serves", error.message)
        return cached
    finally:
        meter.alive()
    if cached and cache.blob_of(cached).name == source.etag:
        return cached
    _require_agreement(source)
    return source


def _ask(file: RemoteFile, *, retry: bool) -> Source:
    """Return what the Hub says of a file, checked before any of it is used."""
    told = huggingface_hub.get_hf_file_metadata(
        huggingface_hub.hf_hub_url(file.repo, file.file, revision=file.revision),
        timeout=constants.HF_HUB_ETAG_TIMEOUT,
        retry_on_errors=retry,
    )
    if not COMMIT.fullmatch(told.commit_hash or "") or not ETAG.fullmatch(told.etag or ""):
        raise DownloadError(
            f"{file}: {constants.ENDPOINT} doesn't answer as a Hub does: "
            "look at HF_ENDPOINT and the proxy"
        )
    if told.size is None or not 0 < told.size <= LARGEST:
        raise DownloadError(f"{file}: the Hub says that it has {told.size} bytes")
    return Source(file, str(told.commit_hash), str(told.etag), told.size)


def _require_agreement(source: Source) -> None:
    """Raise DownloadError where the Hub has another file than the manifest means."""
    file = source.file
    if file.bytes not in {None, source.bytes}:
        raise DownloadError(f"{file}: the Hub has {source.bytes} bytes instead of {file.bytes}")
    if cache.SHA256.fullmatch(source.etag) and source.sha256 != source.etag:
        raise DownloadError(cache.wrong(file, source.etag, source.sha256))


def _require_room(sources: Sequence[Source]) -> None:
    """Raise DownloadError with both numbers if the cache's disk is too full."""
    missing = sum(one.missing for one in sources)
    if not missing:
        return
    folder = cache.root()
    exists = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(exists).free
    if free < missing + SPARE:
        raise DownloadError(
            f"{sources[0].file}: {missing:,} bytes are missing and {SPARE:,} shall stay free, "
            f"but {folder} has {free:,} left; free some, or set HF_HOME"
        )


def _place_all(sources: Sequence[Source], meter: Meter) -> dict[RemoteFile, Path]:
    """Have files in the cache, one after the other, and return their links' paths."""
    total = sum(one.bytes for one in sources)
    paths = {}
    before = 0
    for one in sources:
        meter.begin("downloading", one.file.file, total=total, done=before)
        with translated(one.file):
            paths[one.file] = _place(one, meter, before, last=one is sources[-1])
        before += one.bytes
    return paths


def _place(source: Source, meter: Meter, before: int, *, last: bool) -> Path:
    """Have a file in the cache and return the path of its link; `before`: bytes of others."""
    with _locked(source, meter, before):
        if not source.blob.exists():
            _receive(source, meter, before)
            _check(source, meter, last=last)
            source.partial.replace(source.blob)
    # The blob is there, so that the client has only the link and the reference to write.
    file = source.file
    linked = huggingface_hub.hf_hub_download(file.repo, file.file, revision=file.revision)
    return Path(linked)


@contextmanager
def _locked(source: Source, meter: Meter, before: int) -> Iterator[None]:
    """Hold the client's lock of a blob; meanwhile tell how far its holder is."""
    source.blob.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(cache.locked(source.file.repo, source.etag))
                break
            except TimeoutError:
                meter.alive()
                meter.at(source.file.file, before + source.bytes - source.missing)
        yield


def _receive(source: Source, meter: Meter, before: int) -> None:
    """Receive what is missing of a file into its partial file, and see it on the disk."""
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK
    file = source.file
    with source.partial.open("ab") as content:
        if content.tell() > source.bytes:
            content.truncate(0)
            content.seek(0)
        meter.at(file.file, before + content.tell())
        if content.tell() < source.bytes:
            bar = _Bar(meter, source, content)
            http_get(
                # By commit: what was asked about and what comes are the same.
                huggingface_hub.hf_hub_url(file.repo, file.file, revision=source.commit),
                cast("BinaryIO", content),
                resume_size=content.tell(),
                headers={**build_hf_headers(), "Accept-Encoding": "identity"},
                displayed_filename=file.file,
                tqdm_class=cast("Any", bar),
            )
        content.flush()
        os.fsync(content.fileno())


class _Bar:
    """What the client takes for a progress bar: it counts, and lets no more come than was said."""

    def __init__(self, meter: Meter, source: Source, content: BufferedWriter) -> None:
        self._meter, self._source, self._content = meter, source, content
        self._here = content.tell()

    def __call__(self, **options: Any) -> Self:
        # A Hub that can't resume sends all again, and the client says so with `initial`.
        initial = options.get("initial") or 0
        self._meter.advance(initial - self._here)
        self._here = initial
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, count: int) -> None:
        self._here += count
        if self._here > self._source.bytes:
            self._source.partial.unlink(missing_ok=True)
            raise DownloadError(
                f"{self._source.file}: {self._here} bytes or more came "
                f"instead of {self._source.bytes}"
            )
        # What came before is on the disk then: others see it there, and a kill loses one piece.
        self._content.flush()
        self._meter.advance(count)


def _check(source: Source, meter: Meter, *, last: bool) -> None:
    """Raise DownloadError with both values, and delete what came, if it isn't what was said."""
    file, partial = source.file, source.partial
    have = partial.stat()
    if have.st_size != source.bytes:
        partial.unlink()
        raise DownloadError(f"{file}: {have.st_size} bytes came instead of {source.bytes}")
    found = _digest(source, meter, last=last)
    if source.sha256 not in {None, found}:
        partial.unlink()
        raise DownloadError(cache.wrong(file, found, source.sha256))
    if source.sha256 is None:
        logger.warning("%s: nobody says its sha256, so only its size is checked", file)
    stamp = cache.Stamp(have.st_size, have.st_mtime_ns, found)
    cache.write_stamp(file, source.blob.name, stamp)


def _digest(source: Source, meter: Meter, *, last: bool) -> str:
    # Between parts the stage stays, so that it never goes back from verifying to downloading.
    if not last:
        return cache.digest(source.partial, lambda _count: meter.alive())
    with _verifying(source.file.file, source.partial, meter):
        return cache.digest(source.partial, meter.advance)


@contextmanager
def _verifying(file: str, path: Path, meter: Meter) -> Iterator[None]:
    """Count the reading of a file as its own stage, which is done at the end even if not needed."""
    size = path.stat().st_size
    meter.begin("verifying", file, total=size)
    yield
    meter.begin("verifying", file, total=size, done=size)
