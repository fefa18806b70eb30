"""From a model's name (a catalog id, a file on the Hub or a local path) to a judged local file."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from msgspec import Struct

from rerankd import machine
from rerankd.errors import ModelFileError, SettingsError
from rerankd.families import registry
from rerankd.families.family import Family
from rerankd.settings import Settings
from rerankd.sources import catalog, gguf
from rerankd.sources.catalog import ChosenType, Manifest, Variant
from rerankd.sources.chat.prompt import judging_by_chat
from rerankd.sources.downloads import (
    HUB_PREFIX,
    OnDownload,
    download_files,
    downloaded,
    remote_files,
)
from rerankd.sources.gguf import Header, Verdict
from rerankd.sources.hub.addresses import is_address, reference_of
from rerankd.sources.hub.reference import Reference, parse_reference
from rerankd.sources.projectors import fetch_projector, projector_is_here
from rerankd.utf8 import without_surrogates

_PAGE = re.compile(r"hf:([\w.-]+/[\w.-]+)")
"""A repository without a file, which the catalog may know by the model's name on the Hub."""


class ResolvedModel(Struct, frozen=True):
    """A model's file on this machine, with the manifest that describes it."""

    path: Path
    manifest: Manifest | None
    asserted: bool = False
    """Whether the manifest is the user's word (`--as`), not found by name or bytes."""
    chosen: str = ""
    """Why this type of the model was taken, where nobody named one."""

    @property
    def known_as(self) -> str | None:
        """The name by which the catalog finds the same manifest, None where there is none."""
        return f"{self.manifest.id}:{self.manifest.default}" if self.manifest else None


def resolve_model(
    source: str,
    settings: Settings,
    on_progress: OnDownload | None = None,
    stop: threading.Event | None = None,
) -> ResolvedModel:
    """Return a model's file, downloading it unless it is here, until `stop` is set.

    Raises DownloadError, ModelFileError, ModelNotFound (a variant) or SettingsError (a licence)
    with one line that says why it can't be had.
    """
    source = plain_name(source)
    found_by_name = find_type(source, settings)
    if found_by_name is not None:
        manifest = found_by_name.manifest
        catalog.require_license(manifest, settings.accept_license)
        files = remote_files(manifest.weights)
        path = download_files(files, on_progress, stop) if files else local_weights(manifest)
        fetch_projector(path, manifest, settings, on_progress, stop)
        return as_asserted(ResolvedModel(path, manifest, chosen=found_by_name.reason), settings)
    if source.startswith(HUB_PREFIX):
        published = parse_reference(source)
        path = download_files(published, on_progress, stop)
    else:
        published = None
        path = _local_path(source)
        _require_no_typo(source, path, settings)
    found = as_asserted(ResolvedModel(path, _identify(path, settings)), settings)
    if found.manifest is not None:
        catalog.require_license(found.manifest, settings.accept_license)
    fetch_projector(path, _origin(published, found.manifest), settings, on_progress, stop)
    return found


def _origin(published: Reference | None, manifest: Manifest | None) -> Manifest | Reference | None:
    """Return what says which projector a downloaded model was published with."""
    return manifest if published and manifest and manifest.mmproj else published


def plain_name(source: str) -> str:
    """Return a model's name as the other functions here know it: addresses become `hf:` names.

    Raises DownloadError for an address that is not of a model on the Hub.
    """
    return reference_of(source) if is_address(source) else source


def judge_file(model: ResolvedModel, as_family: str = "") -> tuple[Header, Verdict]:
    """Read a file's header and judge it, with what its manifest adds.

    `as_family` is the setting of that name: it outranks the manifest's family. Raises
    ModelFileError.
    """
    return judge_header(gguf.read(model.path), model.manifest, as_family)


def judge_header(
    header: Header, manifest: Manifest | None, as_family: str = ""
) -> tuple[Header, Verdict]:
    """Judge a header as `judge_file` does."""
    chosen = _family_chosen(as_family)
    if manifest is None:
        return judging_by_chat(header, gguf.judge(header, asserted=chosen))
    verdict = gguf.judge(
        header,
        bare_head=manifest.bare_head,
        overrides=manifest.overrides,
        asserted=chosen or manifest.asserted_family,
    )
    return judging_by_chat(header, verdict)


def require_known_family(settings: Settings) -> None:
    """Raise SettingsError that lists the choices where `as_family` names nothing that is known."""
    wanted = settings.as_family
    if wanted and not _family_chosen(wanted) and find_manifest(wanted, settings) is None:
        names = ", ".join(sorted(family.choice for family in _choosable()))
        raise SettingsError(
            f"{wanted!r} is neither a family nor a catalog id; families: {names}",
            param="as_family",
        )


def _family_chosen(as_family: str) -> Family | None:
    names = {name: one for one in _choosable() for name in (one.name, one.choice)}
    return names.get(as_family.casefold())


def _choosable() -> list[Family]:
    return [family for family in registry.FAMILIES if not family.needs_readout]


def as_asserted(found: ResolvedModel, settings: Settings) -> ResolvedModel:
    """Return a model with the manifest that the user says is its own, if they say so."""
    wanted = settings.as_family
    require_known_family(settings)
    if not wanted or _family_chosen(wanted):
        return found
    return ResolvedModel(found.path, find_manifest(wanted, settings), asserted=True)


def find_manifest(source: str, settings: Settings) -> Manifest | None:
    """Return the manifest that a name of the catalog means, with the variant chosen.

    That is the one of `id:VARIANT`, else the better one that this machine holds.
    """
    found = find_type(source, settings)
    return found.manifest if found else None


def find_type(source: str, settings: Settings) -> ChosenType | None:
    """Return what `find_manifest` does, with the reason for the variant."""
    source = plain_name(source)
    page = _PAGE.fullmatch(source)
    source = page[1] if page else source
    manifest = catalog.find(source, _own_manifests(settings))
    if manifest is None:
        return None
    if source.casefold() not in map(str.casefold, manifest.names):
        return ChosenType(manifest)
    return catalog.fitting_type(manifest, machine.available_memory(), is_installed)


def local_weights(manifest: Manifest) -> Path:
    """Return the file of a model that is not downloaded: beside its manifest, or converted here.

    Raises ModelFileError for one that is still to be converted.
    """
    variant = manifest.weights
    if variant.checkpoint is None:
        return catalog.weights_path(manifest)
    path = converted_file(variant)
    if not path.is_file():
        raise ModelFileError(
            f"{manifest.id}: nobody publishes it as GGUF with its whole head; make the file with"
            f" `rerankd convert {manifest.id}`, from hf:{variant.checkpoint}"
        )
    return path


def converted_file(variant: Variant) -> Path:
    """Return where a variant lies once it was converted on this machine."""
    from rerankd.sources.hub.checkpoints import converted_path  # noqa: PLC0415 - see the docstring

    return converted_path(variant.file)


def is_installed(manifest: Manifest, variant: Variant) -> bool:
    """Return whether a variant's file is on this machine, without the network."""
    files = remote_files(variant)
    if variant.checkpoint is not None:
        return converted_file(variant).is_file()
    return bool(downloaded(files)) if files else catalog.is_beside(manifest, variant)


def is_local(source: str, settings: Settings) -> bool:
    """Return whether a model, with the projector that it is known to have, needs no download."""
    source = plain_name(source)
    manifest = find_manifest(source, settings)
    if manifest is not None:
        here = is_installed(manifest, manifest.weights)
    else:
        here = not source.startswith(HUB_PREFIX) or bool(downloaded(parse_reference(source)))
    return here and projector_is_here(manifest, settings)


def is_embedded(model: ResolvedModel) -> bool:
    """Return whether a file is the one that comes with rerankd."""
    manifest = model.manifest
    if model.asserted:
        return False
    return manifest is not None and manifest.folder == catalog.folder() and manifest.weights.tested


def default_name(source: str, settings: Settings) -> str:
    """Return the name that a model goes by unless it is given another."""
    source = plain_name(source)
    manifest = find_manifest(source, settings)
    if manifest is not None:
        return manifest.id
    if source.startswith(HUB_PREFIX):
        reference = parse_reference(source)
        # A quantization is no name: owner/some-model-GGUF:Q8_0 goes by some-model-GGUF.
        repo = reference.repo.rpartition("/")[2]
        return repo if reference.is_quantization else Path(reference.file).stem
    path = _local_path(source)
    manifest = _identify(path, settings)
    return manifest.id if manifest else without_surrogates(path.stem)


def _local_path(source: str) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError as error:  # ~nobody/model.gguf
        raise ModelFileError(f"{source}: {error}") from error


def _require_no_typo(source: str, path: Path, settings: Settings) -> None:
    """Raise ModelFileError for what is no file and looks like a name of the catalog."""
    is_path = "/" in source or source.endswith(".gguf")
    meant = "" if is_path else catalog.similar_names(source, _own_manifests(settings))
    if meant and not _is_file(path):
        raise ModelFileError(f"{source}: neither a file nor in the catalog{meant}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for the file system, a folder that may not be searched
        return False


def _identify(path: Path, settings: Settings) -> Manifest | None:
    """Return the manifest of the very file at a path, None also where there is no file."""
    return catalog.identify(path, _own_manifests(settings)) if _is_file(path) else None


def _own_manifests(settings: Settings) -> Path | None:
    return catalog.own_folder(settings.catalog_dir)
