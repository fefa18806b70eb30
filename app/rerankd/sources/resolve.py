"""Where a model comes from: a catalog id, a file on the Hub or a local path, to a local file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from rerankd.errors import ModelFileError
from rerankd.settings import Settings
from rerankd.sources import catalog, hub
from rerankd.sources.catalog import Manifest, Variant

HUB = "hf:"


class Progress(Struct, frozen=True):
    """How far a download is, in bytes, bytes/s and seconds; 0 where it isn't known."""

    done: int = 0
    total: int = 0
    rate: float = 0.0
    seconds_left: float = 0.0


Tell = Callable[[Progress], None]


class ResolvedModel(Struct, frozen=True):
    """A model's file on this machine, with the manifest that knows it."""

    path: Path
    manifest: Manifest | None

    @property
    def known_as(self) -> str | None:
        """The name by which the catalog finds the same manifest, None where there is none."""
        return f"{self.manifest.id}:{self.manifest.default}" if self.manifest else None

    @property
    def bare_head(self) -> bool:
        """Tell whether the manifest vouches for a head without pooler."""
        return bool(self.manifest and self.manifest.bare_head)


def locate(
    source: str,
    settings: Settings,
    tell: Tell | None = None,
    stop: threading.Event | None = None,
) -> ResolvedModel:
    """Find a model's file, downloading it where it is not here yet, until `stop` is set.

    Raises DownloadError, ModelFileError, ModelNotFound (a variant) or SettingsError (a licence)
    with one line that says why it can't be had.
    """
    manifest = known(source, settings)
    if manifest is not None:
        catalog.require_license(manifest, settings.accept_license)
        files = files_of(manifest.weights)
        path = _download(files, tell, stop) if files else catalog.weights_path(manifest)
        return ResolvedModel(path, manifest)
    if source.startswith(HUB):
        path = _download(hub.resolve(hub.parse(source)), tell, stop)
    else:
        path = _local(source)
    found = catalog.identify(path, _own(settings)) if _is_file(path) else None
    if found is not None:
        catalog.require_license(found, settings.accept_license)
    return ResolvedModel(path, found)


def known(source: str, settings: Settings) -> Manifest | None:
    """Return the manifest that a name of the catalog means, with the variant chosen."""
    return catalog.find(source, _own(settings))


def files_of(variant: Variant) -> tuple[hub.RemoteFile, ...]:
    """Return what the Hub has of a variant, nothing where it lies beside its manifest."""
    if variant.repo is None:
        return ()
    return hub.files_of(
        hub.RemoteFile(variant.repo, variant.file, variant.revision, variant.bytes, variant.sha256)
    )


def is_installed(manifest: Manifest, variant: Variant) -> bool:
    """Tell whether a variant's file is on this machine, without the network."""
    files = files_of(variant)
    return hub.installed(files) is not None if files else catalog.is_beside(manifest, variant)


def is_local(source: str, settings: Settings) -> bool:
    """Tell whether a source is on this machine and needs no download."""
    manifest = known(source, settings)
    if manifest is not None:
        return is_installed(manifest, manifest.weights)
    if source.startswith(HUB):
        return hub.installed(hub.parse(source)) is not None
    return True


def is_embedded(located: ResolvedModel) -> bool:
    """Tell whether a file is one that came with this program."""
    manifest = located.manifest
    return manifest is not None and manifest.folder == catalog.folder() and manifest.weights.tested


def name_of(source: str, settings: Settings) -> str:
    """Return the name a model goes by unless it is given another."""
    manifest = known(source, settings)
    if manifest is not None:
        return manifest.id
    if source.startswith(HUB):
        reference = hub.parse(source)
        # A quantization is no name: owner/some-model-GGUF:Q8_0 goes by some-model-GGUF.
        repo = reference.repo.rpartition("/")[2]
        return repo if reference.is_quantization else Path(reference.file).stem
    path = _local(source)
    found = catalog.identify(path, _own(settings)) if _is_file(path) else None
    return found.id if found else path.stem


def _local(source: str) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError as error:  # ~nobody/model.gguf
        raise ModelFileError(f"{source}: {error}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for the file system, a folder nobody may look into
        return False


def _own(settings: Settings) -> Path | None:
    return catalog.own_folder(settings.catalog_dir)


def _download(
    files: tuple[hub.RemoteFile, ...], tell: Tell | None, stop: threading.Event | None
) -> Path:
    def on_progress(now: hub.Progress) -> None:
        if tell:
            tell(Progress(now.done, now.total, now.rate, now.seconds_left or 0.0))

    return hub.download(files, on_progress=on_progress, stop=stop)
