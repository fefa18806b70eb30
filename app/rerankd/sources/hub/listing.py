"""From a reference to the files it means: by the repository's list, or by what the cache has."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import huggingface_hub
from huggingface_hub import constants, errors

from rerankd.errors import DownloadError
from rerankd.sources.hub import cache
from rerankd.sources.hub.client import apply_proxy_rule, quieten_client
from rerankd.sources.hub.errors import asking
from rerankd.sources.hub.reference import (
    Reference,
    RemoteFile,
    choose_file,
    choose_projector,
    split_names,
)

logger = logging.getLogger(__name__)

MOST_LISTED = 10_000
"""Files of a repository that are looked at."""


def resolve_files(reference: Reference) -> tuple[RemoteFile, ...]:
    """Return the files a reference means: of a split model all of them, in order.

    A quantization is looked up on the Hub, or in the cache when the Hub can't be reached. Raises
    DownloadError, which lists the candidates where several files or none are meant.
    """
    known = _list_repository(reference) if reference.is_quantization else {}
    return _meant(reference, known)


def resolve_projector(reference: Reference) -> RemoteFile | None:
    """Return the projector (mmproj) that a repository has for the model a reference means.

    None where it has none, or several of which none is clearly meant. Raises DownloadError.
    """
    known = _list_repository(reference)
    file = choose_file(reference, known) if reference.is_quantization else reference.file
    found = choose_projector(known, file)
    return known[found] if found else None


def resolve_cached_files(reference: Reference) -> tuple[RemoteFile, ...]:
    """Return the files a reference means by what the cache has. Raises as `resolve_files` does."""
    known = _list_cache(reference) if reference.is_quantization else {}
    if reference.is_quantization and not known:
        raise DownloadError(f"{reference}: no file of the repository is in the cache")
    return _meant(reference, known)


def _meant(reference: Reference, known: Mapping[str, RemoteFile]) -> tuple[RemoteFile, ...]:
    file = choose_file(reference, known) if reference.is_quantization else reference.file
    return tuple(
        known.get(name) or RemoteFile(reference.repo, name, reference.revision)
        for name in split_names(file)
    )


def _list_repository(reference: Reference) -> dict[str, RemoteFile]:
    """Return a repository's GGUF files by name, with size and SHA-256 where the Hub has them."""
    try:
        with asking(reference):
            return _ask_for_list(reference)
    except DownloadError as error:
        if isinstance(error.__cause__, errors.RevisionNotFoundError):
            raise
        cached = _list_cache(reference)
        if not cached:
            raise
        logger.warning("%s; using the files in the cache", error.message)
        return cached


def _list_cache(reference: Reference) -> dict[str, RemoteFile]:
    repo, revision = reference.repo, reference.revision
    return {name: RemoteFile(repo, name, revision) for name in cache.cached_names(repo, revision)}


def _ask_for_list(reference: Reference) -> dict[str, RemoteFile]:
    info = _ask_for_info(reference.repo, reference.revision)
    found = _files_of(info, reference.repo, reference.revision)
    return {name: file for name, file in found.items() if name.endswith(".gguf")}


def ask_for_files(repo: str, revision: str | None) -> dict[str, RemoteFile]:
    """Return a repository's files by name, all of the commit that a revision means now.

    Raises DownloadError.
    """
    with asking(f"hf:{repo}"):
        info = _ask_for_info(repo, revision)
        return _files_of(info, repo, info.sha or revision)


def _ask_for_info(repo: str, revision: str | None) -> huggingface_hub.ModelInfo:
    # Not `list_repo_tree`: it takes no timeout and would wait for a silent Hub for ever.
    quieten_client()
    apply_proxy_rule()
    return huggingface_hub.HfApi().model_info(
        repo, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
    )


def _files_of(
    info: huggingface_hub.ModelInfo, repo: str, revision: str | None
) -> dict[str, RemoteFile]:
    return {
        one.rfilename: RemoteFile(
            repo, one.rfilename, revision, one.size, one.lfs.sha256 if one.lfs else None
        )
        for one in (info.siblings or [])[:MOST_LISTED]
    }
