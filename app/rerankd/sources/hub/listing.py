"""From a reference to the files it means, by the repository's list of files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants, errors

from rerankd.errors import DownloadError
from rerankd.sources.hub import cache
from rerankd.sources.hub.errors import translated
from rerankd.sources.hub.reference import Reference, RemoteFile, choose, parts_of

logger = logging.getLogger(__name__)

MOST_FILES = 10_000
"""Files of a repository that are looked at."""


def resolve(reference: Reference) -> tuple[RemoteFile, ...]:
    """Return the files a reference means: of a split model all parts, in order.

    A quantization is looked up on the Hub, or in the cache when the Hub can't be asked. Raises
    DownloadError, with the candidates where several files or none are meant.
    """
    known = _listed(reference) if reference.is_quantization else {}
    return _meant(reference, known)


def resolve_installed(reference: Reference) -> tuple[RemoteFile, ...]:
    """Return the files a reference means by what the cache has. Raises as `resolve` does."""
    known = _cached(reference) if reference.is_quantization else {}
    if reference.is_quantization and not known:
        raise DownloadError(f"{reference}: nothing of the repository is in the cache")
    return _meant(reference, known)


def installed(reference: Reference) -> Path | None:
    """Return the path of what a reference means if it is in the cache, whole and verified."""
    try:
        return cache.installed(resolve_installed(reference))
    except DownloadError:
        # A quantization that means nothing there, or a name that can't exist: not installed.
        return None


def _meant(reference: Reference, known: Mapping[str, RemoteFile]) -> tuple[RemoteFile, ...]:
    file = choose(reference, known) if reference.is_quantization else reference.file
    return tuple(
        known.get(name) or RemoteFile(reference.repo, name, reference.revision)
        for name in parts_of(file)
    )


def _listed(reference: Reference) -> dict[str, RemoteFile]:
    """Return a repository's GGUF files by name, with size and SHA-256 if the Hub told them."""
    try:
        with translated(reference):
            return _asked(reference)
    except DownloadError as error:
        if isinstance(error.__cause__, errors.RevisionNotFoundError):
            raise
        cached = _cached(reference)
        if not cached:
            raise
        logger.warning("%s; looking at the files in the cache", error.message)
        return cached


def _cached(reference: Reference) -> dict[str, RemoteFile]:
    repo, revision = reference.repo, reference.revision
    return {name: RemoteFile(repo, name, revision) for name in cache.names(repo, revision)}


def _asked(reference: Reference) -> dict[str, RemoteFile]:
    # Not `list_repo_tree`, which takes no timeout and would wait for a silent Hub for ever.
    told = huggingface_hub.HfApi().model_info(
        reference.repo,
        revision=reference.revision,
        files_metadata=True,
        timeout=constants.HF_HUB_ETAG_TIMEOUT,
    )
    siblings = (told.siblings or [])[:MOST_FILES]
    return {
        one.rfilename: RemoteFile(
            reference.repo,
            one.rfilename,
            reference.revision,
            one.size,
            one.lfs.sha256 if one.lfs else None,
        )
        for one in siblings
        if one.rfilename.endswith(".gguf")
    }
