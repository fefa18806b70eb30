"""The projector that would come with a model on the Hub, judged by its header alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rerankd.errors import DownloadError, ModelFileError
from rerankd.families.header import Header
from rerankd.families.prompt_format import PictureFormat
from rerankd.settings import Settings
from rerankd.sources import resolve as sources
from rerankd.sources.catalog import Manifest
from rerankd.sources.catalog.lookup import beside
from rerankd.sources.downloads import HUB_PREFIX, remote_files
from rerankd.sources.gguf.projector import projector_of
from rerankd.sources.hub.listing import resolve_files, resolve_projector
from rerankd.sources.hub.reference import RemoteFile, parse_reference
from rerankd.sources.projectors import (
    FoundProjector,
    chosen_projector,
    require_fit,
    unwanted_projector,
)
from rerankd.sources.remote_header import RemoteModel, asked_of_hub, header_on_hub

NONE_MEANT = (
    "the repository has no mmproj file, or several of which none is clearly meant; name one with"
    " --mmproj"
)


def find_remote_projector(source: str, model: RemoteModel, settings: Settings) -> FoundProjector:
    """Return the projector that would be downloaded with a model on the Hub, or why none would.

    It is the one that the setting names, else the manifest's, else the repository's. Raises
    DownloadError or ModelFileError where the one named, or in the manifest, can't be had or doesn't
    fit.
    """
    header, family = model.header, model.verdict.family
    if family is None:
        return FoundProjector()
    unwanted = unwanted_projector(header, family, settings.mmproj)
    if unwanted or family.pictures is None:
        return unwanted or FoundProjector()
    named, pictures = settings.mmproj, family.pictures
    chosen = _named_file(named) if named else _file_of_manifest(model.manifest)
    if isinstance(chosen, Path):
        return chosen_projector(chosen, header, pictures)
    return _judged(chosen, header, pictures) if chosen else _of_repository(source, header, pictures)


def _named_file(named: str) -> Path | Sequence[RemoteFile]:
    if named.startswith(HUB_PREFIX):
        return resolve_files(parse_reference(named))
    return Path(named).expanduser()


def _file_of_manifest(manifest: Manifest | None) -> Path | Sequence[RemoteFile] | None:
    """Return a manifest's projector, on the Hub or beside it; None where it has none."""
    if manifest is None or manifest.mmproj is None:
        return None
    return remote_files(manifest.mmproj) or beside(manifest, manifest.mmproj)


def _of_repository(source: str, header: Header, pictures: PictureFormat) -> FoundProjector:
    """Return the projector that a repository has for its model, or why it would go without."""
    name = sources.plain_name(source)
    if not name.startswith(HUB_PREFIX):
        return FoundProjector(note="its manifest names no mmproj file")
    try:
        file = resolve_projector(parse_reference(name))
        return _judged((file,), header, pictures) if file else FoundProjector(note=NONE_MEANT)
    except (DownloadError, ModelFileError) as error:  # it would be served for texts
        return FoundProjector(note=error.message)


def _judged(files: Sequence[RemoteFile], model: Header, pictures: PictureFormat) -> FoundProjector:
    """Read the header of a projector on the Hub; it must fit the model."""
    remotes = [asked_of_hub(file) for file in files]
    with header_on_hub(remotes) as header:
        require_fit(projector_of(header), model, pictures)
        return FoundProjector(Path(str(files[0])), header.file_bytes)
