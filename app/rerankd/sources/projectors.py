"""The projector (mmproj) that goes with a model: named, published with it, or beside its file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from msgspec import Struct

from rerankd.errors import DownloadError, ModelFileError
from rerankd.families import registry
from rerankd.families.family import Family
from rerankd.families.header import Header
from rerankd.families.prompt_format import PictureFormat
from rerankd.settings import Settings
from rerankd.sources.catalog.lookup import beside
from rerankd.sources.catalog.manifest import Manifest
from rerankd.sources.downloads import (
    HUB_PREFIX,
    OnDownload,
    download_files,
    downloaded,
    remote_files,
)
from rerankd.sources.gguf.header import read
from rerankd.sources.gguf.projector import Projector, misfit, read_projector
from rerankd.sources.hub.reference import (
    Reference,
    RemoteFile,
    is_projector_name,
    parse_reference,
    preferred_projector,
    without_type,
)

logger = logging.getLogger(__name__)

WITHOUT = "none"
"""The setting's value for a model that is to read texts alone."""
MOST_LOOKED_AT = 32
"""Projectors in one folder whose headers are read."""
NAMED_IN_NOTE = 3


class FoundProjector(Struct, frozen=True):
    """The projector that goes with a model, or why there is none."""

    path: Path | None = None
    bytes: int = 0
    note: str = ""


def find_projector(
    model: Header, family: Family, manifest: Manifest | None, settings: Settings
) -> FoundProjector:
    """Return the projector that goes with a model, of the files on this machine.

    It is the one that the setting names, else the manifest's, else the only one that fits of those
    beside the model's file. Raises ModelFileError where the one named isn't here or doesn't fit.
    """
    named, pictures = settings.mmproj, family.pictures
    unwanted = unwanted_projector(model, family, named)
    if unwanted or pictures is None:
        return unwanted or FoundProjector()
    path = _named_projector(named) if named else _projector_of(manifest)
    return chosen_projector(path, model, pictures) if path else projector_beside(model, pictures)


def unwanted_projector(model: Header, family: Family, named: str) -> FoundProjector | None:
    """Return what is found where no projector is wanted; None where one is.

    `named` is the setting. Raises ModelFileError where it names one for a family that has no use
    for any.
    """
    if named == WITHOUT:
        return FoundProjector(note="left out, as mmproj is none")
    if family.pictures is not None:
        return None
    if named:
        raise ModelFileError(
            f"{model.path}: models of the family {family.name} read texts alone; leave out"
            " --mmproj (mmproj)"
        )
    return FoundProjector()


def chosen_projector(path: Path, model: Header, pictures: PictureFormat) -> FoundProjector:
    """Return the projector that somebody named for a model.

    Raises ModelFileError for a file that is none, and for one that doesn't fit, with the reason.
    """
    projector = read_projector(path)
    require_fit(projector, model, pictures)
    return _found(projector)


def require_fit(projector: Projector, model: Header, pictures: PictureFormat) -> None:
    """Raise ModelFileError with the reason where a projector doesn't go with a model."""
    reason = misfit(projector, model, pictures)
    if reason:
        path = projector.header.path
        raise ModelFileError(f"{path}: doesn't go with {model.path.name}: {reason}")


def projector_beside(model: Header, pictures: PictureFormat) -> FoundProjector:
    """Return the one projector in a model's folder that goes with it.

    Where several do, it is one of the model's own name: the only one, or the one of the type that
    is preferred; else none.
    """
    rejected, fitting = _judged_beside(model, pictures)
    if not fitting:
        note = "; ".join(rejected[:NAMED_IN_NOTE])
        return FoundProjector(note=note or "no mmproj file beside the model's")
    own = without_type(model.path.name)
    namesakes = [one for one in fitting if without_type(one.header.path.name) == own]
    for group in (fitting, namesakes):
        if len(group) == 1:
            return _found(group[0])
    preferred = preferred_projector(one.header.path.name for one in namesakes)
    for one in namesakes:
        if one.header.path.name == preferred:
            return _found(one)
    names = ", ".join(one.header.path.name for one in fitting[:NAMED_IN_NOTE])
    return FoundProjector(note=f"several mmproj files fit, name one with --mmproj: {names}")


def fetch_projector(
    model: Path,
    published: Manifest | Reference | None,
    settings: Settings,
    on_progress: OnDownload | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Download a model's projector: the one named, else the one that it was published with.

    `published` says where the model came from; None for a file that somebody put somewhere. Raises
    DownloadError for a projector that is named; without one that is only published, the model
    reads texts alone, which is logged.
    """
    if settings.mmproj:
        if settings.mmproj.startswith(HUB_PREFIX):
            download_files(parse_reference(settings.mmproj), on_progress, stop)
        return
    if not may_have_projector(model, published):
        return
    try:
        files = _published_files(published)
        if files:
            download_files(files, on_progress, stop)
    except DownloadError as error:
        if stop and stop.is_set():
            raise
        logger.warning("%s; %s reads texts alone", error.message, model.name)


def projector_is_here(manifest: Manifest | None, settings: Settings) -> bool:
    """Return whether the projector that is named or in the manifest needs no download."""
    if settings.mmproj:
        named = settings.mmproj
        return not named.startswith(HUB_PREFIX) or bool(downloaded(parse_reference(named)))
    files = remote_files(manifest.mmproj) if manifest and manifest.mmproj else ()
    return not files or bool(downloaded(files))


def _named_projector(named: str) -> Path:
    if not named.startswith(HUB_PREFIX):
        return Path(named).expanduser()
    path = downloaded(parse_reference(named))
    if path is None:
        raise ModelFileError(f"{named}: the projector is not on this machine")
    return path


def _projector_of(manifest: Manifest | None) -> Path | None:
    """Return the path of a manifest's projector if it is here."""
    if manifest is None or manifest.mmproj is None:
        return None
    files = remote_files(manifest.mmproj)
    return downloaded(files) if files else beside(manifest, manifest.mmproj)


def may_have_projector(model: Path, published: Manifest | Reference | None) -> bool:
    """Return whether a model may have been published with a projector."""
    if isinstance(published, Manifest):
        return published.mmproj is not None
    try:
        return published is not None and _may_see(read(model))
    except ModelFileError:  # it is refused later, with what to do about it
        return False


def _published_files(published: Manifest | Reference | None) -> tuple[RemoteFile, ...]:
    if isinstance(published, Manifest):
        return remote_files(published.mmproj) if published.mmproj else ()
    if published is None:
        return ()
    from rerankd.sources.hub.listing import resolve_projector  # noqa: PLC0415 - as in downloads

    found = resolve_projector(published)
    return (found,) if found else ()


def _may_see(model: Header) -> bool:
    return any(one.pictures is not None and one.may_include(model) for one in registry.FAMILIES)


def _judged_beside(model: Header, pictures: PictureFormat) -> tuple[list[str], list[Projector]]:
    rejected, fitting = [], []
    for path in sorted(islice(_projectors_near(model.path), MOST_LOOKED_AT)):
        try:
            projector = read_projector(path)
        except ModelFileError as error:
            rejected.append(error.message.replace(f"{path.parent}/", ""))
            continue
        reason = misfit(projector, model, pictures)
        if reason:
            rejected.append(f"{path.name}: {reason}")
        else:
            fitting.append(projector)
    return rejected, fitting


def _projectors_near(model: Path) -> Iterator[Path]:
    """Yield what is called a projector in a model's folder.

    In the Hub's cache also those in the folders above, up to the repository's own.
    """
    folders = [model.parent]
    while "snapshots" in folders[-1].parts and folders[-1].parent.name != "snapshots":
        folders.append(folders[-1].parent)
    for folder in folders:
        try:
            yield from (one for one in folder.iterdir() if is_projector_name(one.name))
        except OSError:  # it may be passed through and not listed
            continue


def _found(projector: Projector) -> FoundProjector:
    header = projector.header
    return FoundProjector(header.path, header.file_bytes)
