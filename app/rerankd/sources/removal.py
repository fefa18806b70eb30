"""Deletes the files of a model that were downloaded or converted on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from rerankd.errors import InvalidRequest, ModelNotFound
from rerankd.settings import Settings
from rerankd.sources import resolve as sources
from rerankd.sources.catalog import Manifest, Variant
from rerankd.sources.downloads import HUB_PREFIX, remote_files
from rerankd.sources.hub.reference import parse_reference


def remove_files(model: str, settings: Settings) -> int:
    """Delete a model's files; return the bytes freed.

    Of a catalog id, all its variants'. A file that somebody put somewhere themselves is never
    deleted: InvalidRequest. Raises ModelNotFound where there is nothing, DownloadError while it
    is being downloaded.
    """
    from rerankd.sources.hub import files as hub  # noqa: PLC0415 - see sources/downloads.py

    manifest = sources.find_manifest(model, settings)
    if manifest is not None:
        named = {name.casefold() for name in manifest.names}
        variants = manifest.variants if model.casefold() in named else (manifest.weights,)
        freed = remove_variants(manifest, variants)
    elif model.startswith(HUB_PREFIX):
        freed = hub.remove_model(parse_reference(model))
    else:
        raise InvalidRequest(
            "only files that rerankd downloaded or converted are deleted; give a catalog id or "
            "hf:owner/repo:file.gguf",
            param="model",
        )
    if not freed:
        raise ModelNotFound(f"{model}: no file of it was downloaded", param="model")
    return freed


def remove_variants(manifest: Manifest, variants: Sequence[Variant]) -> int:
    """Delete what was downloaded or converted of some variants; return the bytes freed.

    The projector goes with the last variant that is here.
    """
    from rerankd.sources.hub import files as hub  # noqa: PLC0415 - see sources/downloads.py

    remote = [file for one in variants for file in remote_files(one)]
    freed = hub.remove(remote) + sum(map(_remove_made, variants))
    if manifest.mmproj and not any(
        sources.is_installed(manifest, one) for one in manifest.variants
    ):
        freed += hub.remove(remote_files(manifest.mmproj))
    return freed


def _remove_made(variant: Variant) -> int:
    path = sources.converted_file(variant) if variant.checkpoint else None
    if path is None or not path.is_file():
        return 0
    size = path.stat().st_size
    path.unlink()
    return size
