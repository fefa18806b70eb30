"""The Hub's cache on disk: finding files, verifying them, deleting them.

A verified file has a stamp beside its blob, `<blob>.verified`: size, time of change and SHA-256.
While the first two are the file's own, the third needs no reading of gigabytes.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub
import msgspec
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]
from msgspec import Struct

from rerankd.errors import DownloadError
from rerankd.sources.hub.errors import translated
from rerankd.sources.hub.reference import RemoteFile

logger = logging.getLogger(__name__)

READ_BYTES = 1024 * 1024
SHA256 = re.compile(r"[0-9a-f]{64}")
LOCK_SECONDS = 0.2
"""How long to wait for a lock before checking whether it is still wanted."""


class VerifiedStamp(Struct, frozen=True, forbid_unknown_fields=True):
    """A file's size, time of change and hash when its bytes were last read."""

    bytes: int
    changed_ns: int
    sha256: str


def cache_root() -> Path:
    """Return the cache's folder."""
    return Path(constants.HF_HUB_CACHE)


def blobs_folder(repo: str) -> Path:
    """Return the folder of a repository's blobs."""
    return cache_root() / repo_folder_name(repo_id=repo, repo_type="model") / "blobs"


@contextmanager
def locked(repo: str, blob: str) -> Iterator[None]:
    """Hold the lock by which the client's processes agree who downloads a blob.

    Raises TimeoutError after LOCK_SECONDS.
    """
    place = (
        cache_root() / ".locks" / repo_folder_name(repo_id=repo, repo_type="model") / f"{blob}.lock"
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(place, timeout=LOCK_SECONDS):
        yield


def cached_path(file: RemoteFile) -> Path | None:
    """Return a file's path in the cache, verified or not. Raises DownloadError for a bad name."""
    with translated(file):
        found = huggingface_hub.try_to_load_from_cache(file.repo, file.file, revision=file.revision)
    return Path(found) if isinstance(found, str) else None


def cached_names(repo: str, revision: str | None) -> list[str]:
    """Return the names of the GGUF files that the cache has of a repository's revision."""
    snapshots = blobs_folder(repo).parent / "snapshots"
    asked = revision or constants.DEFAULT_REVISION
    reference = blobs_folder(repo).parent / "refs" / asked
    folder = snapshots / (reference.read_text("utf-8") if reference.is_file() else asked)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf"))


def blob_of(path: Path) -> Path:
    """Return the blob a snapshot's link leads to; where there are no links, the file itself."""
    if not path.is_symlink():
        return path
    # One step only: a blob may itself be a link into a store that repositories share.
    return Path(os.path.normpath(path.parent / path.readlink()))


def stamp_of(file: RemoteFile, path: Path) -> VerifiedStamp | None:
    """Return what was verified of a cached file, None if it was not or has changed since."""
    try:
        stamp = msgspec.json.decode(_stamp_path(file, path).read_bytes(), type=VerifiedStamp)
        now = path.stat()
    except (OSError, msgspec.DecodeError):
        return None
    same = (stamp.bytes, stamp.changed_ns) == (now.st_size, now.st_mtime_ns)
    return stamp if same else None


def verify(file: RemoteFile, path: Path, on_read: Callable[[int], None]) -> None:
    """Check a cached file's size and SHA-256 against the manifest's, else against its blob's name.

    `on_read` is called with the bytes read by each step of the reading. Raises DownloadError with
    both values. A file that is not even what its blob's name says is deleted.
    """
    name = blob_of(path).name
    own = name if SHA256.fullmatch(name) else None
    expected = file.sha256 or own
    stamp = stamp_of(file, path) or _stamp_by_reading(path, on_read)
    if own not in {None, stamp.sha256}:
        discard(file, path)
        raise DownloadError(f"{wrong_hash(file, stamp.sha256, own)}; deleted from the cache")
    if file.bytes not in {None, stamp.bytes}:
        raise DownloadError(f"{file}: {stamp.bytes} bytes, expected {file.bytes}")
    if expected not in {None, stamp.sha256}:
        raise DownloadError(wrong_hash(file, stamp.sha256, expected))
    remember(file, path, stamp)


def wrong_hash(file: RemoteFile, found: str, expected: str | None) -> str:
    """Return the line that a file with a wrong SHA-256 is refused with."""
    return f"{file}: sha256 is {found}, expected {expected}"


def _stamp_by_reading(path: Path, on_read: Callable[[int], None]) -> VerifiedStamp:
    before = path.stat()
    return VerifiedStamp(before.st_size, before.st_mtime_ns, sha256_of(path, on_read))


def sha256_of(path: Path, on_read: Callable[[int], None]) -> str:
    """Return a file's SHA-256 in hex; `on_read` is called with the bytes of each step."""
    hashed = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(READ_BYTES):
            hashed.update(piece)
            on_read(len(piece))
    return hashed.hexdigest()


def remember(file: RemoteFile, path: Path, stamp: VerifiedStamp) -> None:
    """Keep what was verified of a cached file, unless that is known already."""
    if stamp_of(file, path) != stamp:
        write_stamp(file, blob_of(path).name, stamp)


def write_stamp(file: RemoteFile, blob: str, stamp: VerifiedStamp) -> None:
    """Write a blob's stamp; where the cache can't be written this is logged, and read again."""
    place = blobs_folder(file.repo) / f"{blob}.verified"
    writing = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        writing.write_bytes(msgspec.json.encode(stamp))
        writing.replace(place)
    except OSError as error:
        logger.warning("%s: verified, but the result cannot be stored: %s", file, error.strerror)


def discard(file: RemoteFile, path: Path) -> None:
    """Delete one cached file: the snapshot's link, the blob and the stamp."""
    blob, stamp = blob_of(path), _stamp_path(file, path)
    for one in (path, stamp, blob):
        one.unlink(missing_ok=True)


def _stamp_path(file: RemoteFile, path: Path) -> Path:
    return blobs_folder(file.repo) / f"{blob_of(path).name}.verified"


def verified_path(files: Sequence[RemoteFile]) -> Path | None:
    """Return the path of the first file if all are in the cache, verified and as expected."""
    paths = [cached_path(file) for file in files]
    if not all(
        path and _agrees(file, stamp_of(file, path))
        for file, path in zip(files, paths, strict=True)
    ):
        return None
    return paths[0] if paths else None


def _agrees(file: RemoteFile, stamp: VerifiedStamp | None) -> bool:
    return (
        stamp is not None
        and file.bytes in {None, stamp.bytes}
        and file.sha256 in {None, stamp.sha256}
    )


def delete_files(files: Sequence[RemoteFile]) -> int:
    """Delete files in all their revisions, and what is left of broken downloads; return bytes.

    A revision goes when its last file does. What another process is downloading stays.
    """
    if not cache_root().is_dir():
        return 0
    freed = 0
    for repo in dict.fromkeys(file.repo for file in files):
        wanted = {file.file for file in files if file.repo == repo}
        freed += _delete_from_repo(repo, wanted) + _delete_partials(repo)
    return freed


def _delete_from_repo(repo: str, wanted: set[str]) -> int:
    """Delete a repository's files by name through the client's own strategies."""
    scanned = huggingface_hub.scan_cache_dir(cache_root())
    revisions = [
        revision
        for known in scanned.repos
        if known.repo_id == repo and known.repo_type == "model"
        for revision in known.revisions
    ]
    found = {
        file: revision
        for revision in revisions
        for file in revision.files
        if file.file_path.relative_to(revision.snapshot_path).as_posix() in wanted
    }
    stamps = {blobs_folder(repo) / f"{file.blob_path.name}.verified" for file in found}
    strategy = scanned.delete_files(*found)
    strategy.execute()
    for stamp in stamps:
        stamp.unlink(missing_ok=True)
    emptied = [one.commit_hash for one in {*found.values()} if one.files <= found.keys()]
    if emptied:
        huggingface_hub.scan_cache_dir(cache_root()).delete_revisions(*emptied).execute()
    return strategy.expected_freed_size


def _delete_partials(repo: str) -> int:
    freed = 0
    for partial in blobs_folder(repo).glob("*.incomplete"):
        try:
            with locked(repo, partial.name.partition(".")[0]):
                size = partial.stat().st_size
                partial.unlink()
                freed += size
        except (TimeoutError, FileNotFoundError):
            logger.info("%s is being downloaded by another process", partial.name)
    return freed
