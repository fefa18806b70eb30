"""The verdict on a model that is on the Hub, from its header alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from rerankd.errors import ModelFileError
from rerankd.settings import Settings
from rerankd.sources import catalog, gguf
from rerankd.sources import resolve as sources
from rerankd.sources.catalog import Manifest
from rerankd.sources.downloads import remote_files
from rerankd.sources.gguf import Header, Verdict
from rerankd.sources.gguf.limits import HEADER_BYTES
from rerankd.sources.gguf.reader import HeaderCutShort
from rerankd.sources.hub.description import HubFile, describe_remote
from rerankd.sources.hub.errors import asking
from rerankd.sources.hub.listing import resolve_files
from rerankd.sources.hub.ranges import read_range
from rerankd.sources.hub.reference import RemoteFile, parse_reference
from rerankd.sources.resolve import ResolvedModel

FIRST_BYTES = 2 * 1024**2
"""What is read of a file at first: enough for most encoders, and for a part of a split model."""
GROWTH = 4
"""How many times as much is read next, where the header is longer."""


class RemoteModel(Struct, frozen=True):
    """What the header of a model on the Hub says, and the verdict on it."""

    header: Header
    """Its path is the file's name on the Hub."""
    verdict: Verdict
    manifest: Manifest | None
    """What describes the very file."""


def judge_remote(source: str, settings: Settings) -> RemoteModel:
    """Judge a model on the Hub without downloading its weights.

    The limits of a header are those of a file's. Raises DownloadError and ModelFileError, which
    name the file on the Hub.
    """
    manifest, files = _meant_files(source, settings)
    remotes = [asked_of_hub(file) for file in files]
    if manifest is None:
        manifest = _known_by_digest(remotes[0], settings)
    if manifest is not None:
        catalog.require_license(manifest, settings.accept_license)
    with header_on_hub(remotes) as header:
        model = sources.as_asserted(ResolvedModel(header.path, manifest), settings)
        judged, verdict = sources.judge_header(header, model.manifest, settings.as_family)
    named = msgspec.structs.replace(judged, path=Path(str(files[0])), other_parts=())
    return RemoteModel(named, verdict, model.manifest)


@contextmanager
def header_on_hub(remotes: Sequence[HubFile]) -> Iterator[Header]:
    """Yield the header of a model's files, whose stand-ins are there until it is left.

    Raises DownloadError. A ModelFileError, also one raised meanwhile, names the file on the Hub.
    """
    with (
        tempfile.TemporaryDirectory(prefix="rerankd-") as folder,
        _naming_on_hub(folder, remotes[0].file),
    ):
        yield _read_header(remotes, Path(folder))


def _meant_files(source: str, settings: Settings) -> tuple[Manifest | None, tuple[RemoteFile, ...]]:
    source = sources.plain_name(source)
    manifest = sources.find_manifest(source, settings)
    if manifest is not None:
        files = remote_files(manifest.weights)
        if not files:
            sources.local_weights(manifest)
        return manifest, files
    return None, resolve_files(parse_reference(source))


def asked_of_hub(file: RemoteFile) -> HubFile:
    """Return what the Hub says of a file. Raises DownloadError."""
    with asking(file):
        return describe_remote(file, retry=True)


def _known_by_digest(remote: HubFile, settings: Settings) -> Manifest | None:
    """Return the manifest of the very file, by the SHA-256 that the Hub has of it."""
    for manifest in catalog.manifests(catalog.own_folder(settings.catalog_dir)):
        for variant in manifest.variants:
            if variant.sha256 is not None and variant.sha256 == remote.sha256:
                return catalog.choose(manifest, variant.name)
    return None


def _read_header(remotes: Sequence[HubFile], folder: Path) -> Header:
    """Read as much of the files as their headers take.

    The files lie in a folder under their names and have their whole size, but holes in place of
    what was not read.
    """
    paths = [folder / Path(one.file.file).name for one in remotes]
    read = dict.fromkeys(paths, 0)
    wanted = FIRST_BYTES
    while True:
        for path, remote in zip(paths, remotes, strict=True):
            read[path] = _extend(path, remote, read[path], min(wanted, remote.bytes))
        try:
            return gguf.read(paths[0], available=read)
        except HeaderCutShort as error:
            if wanted >= HEADER_BYTES or sum(read.values()) >= HEADER_BYTES:
                raise ModelFileError(
                    f"{paths[0]}: more than {wanted:,} bytes of header, which no model has"
                ) from error
        wanted *= GROWTH


def _extend(path: Path, remote: HubFile, have: int, wanted: int) -> int:
    """Read a file's bytes up to `wanted` into its stand-in; return how many are there."""
    if wanted <= have:
        return have
    part = read_range(remote, have, wanted)
    with path.open("r+b" if have else "wb") as file:
        file.seek(have)
        file.write(part)
        os.truncate(file.fileno(), remote.bytes)
    return wanted


@contextmanager
def _naming_on_hub(folder: str, file: RemoteFile) -> Iterator[None]:
    """Name the file on the Hub in errors, instead of its stand-in."""
    try:
        yield
    except ModelFileError as error:
        message = error.message.replace(f"{folder}{os.sep}", f"hf:{file.repo}:")
        raise ModelFileError(message) from error
