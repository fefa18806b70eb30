"""Which manifests there are, and which one a name or a file means."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from rerankd.errors import ModelFileError, SettingsError
from rerankd.sources.catalog.listing import is_beside
from rerankd.sources.catalog.manifest import (
    Manifest,
    PublishedFile,
    Variant,
    choose,
    load_manifest,
)
from rerankd.sources.catalog.unchanged import PerFile

DEFAULT = "rerank-mini-en"

MOST_MANIFESTS = 1000
KEPT_DIGESTS = 100
APPROXIMATE = 0.03
"""How far a file's size may lie from a published, rounded one and still be that file."""


def folder() -> Path:
    """Return the folder of our manifests: inside the installed package, else beside it."""
    package = Path(__file__).parents[2]
    inside = package / "models"
    return inside if inside.is_dir() else package.parents[1] / "models"


def embedded_models(own: Path | None = None) -> tuple[Manifest, ...]:
    """Return our models whose weights travel with rerankd, of those that a person left in place."""
    return tuple(
        one
        for one in manifests(own)
        if one.folder == folder() and one.weights.tested and is_beside(one, one.weights)
    )


def own_folder(setting: str) -> Path | None:
    """Return a person's folder of manifests from the setting `catalog_dir`, None if it is empty."""
    return Path(setting).expanduser() if setting else None


def manifests(own: Path | None = None) -> tuple[Manifest, ...]:
    """Return all manifests by file name, those of a person's `own` folder first.

    One of theirs with the id of one of ours takes its place. Raises ModelFileError for a wrong
    manifest and SettingsError for a folder that isn't there.
    """
    ours = _read_folder(folder())
    if own is None:
        return ours
    if not own.is_dir():
        raise SettingsError(f"{own}: no such manifest folder", param="catalog_dir")
    theirs = _read_folder(own)
    replaced = {manifest.id for manifest in theirs}
    return (*theirs, *(manifest for manifest in ours if manifest.id not in replaced))


def _read_folder(place: Path) -> tuple[Manifest, ...]:
    paths = sorted(place.glob("*.toml"))
    if len(paths) > MOST_MANIFESTS:
        raise ModelFileError(f"{place}: {len(paths)} manifests; the limit is {MOST_MANIFESTS}")
    seen: dict[str, str] = {}
    found = []
    for path in paths:
        manifest = _load_unchanged(path)
        for name in {name.casefold() for name in manifest.names}:
            if name in seen:
                raise ModelFileError(f"{path.name}: {name} is already used by {seen[name]}")
            seen[name] = path.name
        found.append(manifest)
    return tuple(found)


def find(name: str, own: Path | None = None) -> Manifest | None:
    """Return the manifest with this id or alias in any case, None if there is none.

    With `id:VARIANT` that variant is the chosen one, else the manifest's default. Raises
    ModelNotFound that lists the variants when the model is known and the variant isn't.
    """
    known = manifests(own)
    whole = _named(known, name)
    if whole is not None:
        return whole
    model, _, variant = name.rpartition(":")
    found = _named(known, model)
    return found and choose(found, variant)


def similar_names(name: str, own: Path | None = None) -> str:
    """Return a question for the ids that somebody who typed `name` may mean, empty for none."""
    ids = {one.casefold(): manifest.id for manifest in manifests(own) for one in manifest.names}
    near = difflib.get_close_matches(name.casefold().partition(":")[0], ids, n=6, cutoff=0.75)
    found = list(dict.fromkeys(ids[one] for one in near))[:3]
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _named(known: Sequence[Manifest], name: str) -> Manifest | None:
    wanted = name.casefold()
    by_id = (manifest for manifest in known if manifest.id == wanted)
    by_alias = (one for one in known if wanted in map(str.casefold, one.aliases))
    # Ids before aliases: a model's own name is never hidden by what another is also called.
    return next(chain(by_id, by_alias), None)


def weights_path(manifest: Manifest) -> Path:
    """Return where the weights lie that travel beside their manifest.

    Raises ModelFileError that says where the weights are when they are on the Hub.
    """
    variant = manifest.weights
    if variant.reference is not None:
        raise ModelFileError(f"{manifest.id}: its weights are on the Hub, at {variant.reference}")
    return manifest.folder / variant.file


def beside(manifest: Manifest, file: PublishedFile) -> Path | None:
    """Return the path of a file that travels beside its manifest, if it is there."""
    path = manifest.folder / file.file
    return path if path.is_file() else None


def identify(path: Path, own: Path | None = None) -> Manifest | None:
    """Return the manifest with the variant chosen that is byte for byte the file at `path`."""
    size = path.stat().st_size
    candidates = [
        (manifest, variant)
        for manifest in manifests(own)
        for variant in manifest.variants
        if variant.sha256 and _may_be(variant, size)
    ]
    # Sizes are compared first, so that an unlisted file is not read at all.
    found = _digest_unchanged(path) if candidates else None
    return next((choose(one, part.name) for one, part in candidates if part.sha256 == found), None)


def _may_be(variant: Variant, size: int) -> bool:
    if variant.bytes is not None:
        return variant.bytes == size
    return abs(variant.size - size) <= APPROXIMATE * variant.size


def file_digest(path: Path) -> str:
    """Return a file's SHA-256 in hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Reading all manifests takes a tenth of a second of pure Python, a large file's digest many; both
# are asked for several times in each deployment.
_load_unchanged = PerFile(load_manifest, MOST_MANIFESTS)
_digest_unchanged = PerFile(file_digest, KEPT_DIGESTS)
