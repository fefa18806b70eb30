"""Looks for GGUF models on the Hub: repositories by words, and the files of one."""

from __future__ import annotations

import msgspec
from huggingface_hub import constants
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    build_hf_headers,
    get_session,
    hf_raise_for_status,
)

from rerankd.errors import DownloadError
from rerankd.sources.hub.client import apply_proxy_rule, quieten_client
from rerankd.sources.hub.errors import asking
from rerankd.sources.hub.found import FoundFile, FoundModel
from rerankd.sources.hub.listing import ask_for_files
from rerankd.sources.hub.reference import SPLIT_PATTERN, RemoteFile

MOST_FOUND = 20
"""Repositories of one answer."""


def search_models(words: str) -> tuple[FoundModel, ...]:
    """Return repositories with GGUF files whose names match, most downloaded first.

    Raises DownloadError, one line, where the Hub can't be asked.
    """
    quieten_client()
    apply_proxy_rule()
    asked = {"search": words, "filter": "gguf", "sort": "downloads", "limit": str(MOST_FOUND)}
    with asking("the search on the Hub"):
        # Not `list_models`: it takes no timeout and would wait for a silent Hub for ever.
        response = get_session().get(
            f"{constants.ENDPOINT}/api/models",
            params=asked,
            headers=build_hf_headers(),
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
        )
        hf_raise_for_status(response)
    try:
        return tuple(msgspec.json.decode(response.content, type=list[FoundModel]))[:MOST_FOUND]
    except msgspec.DecodeError as error:
        raise DownloadError(f"the Hub's answer can't be read: {error}") from error


def gguf_files(repo: str) -> tuple[FoundFile, ...]:
    """Return the GGUF files of a repository by name. Raises DownloadError."""
    found = ask_for_files(repo, None)
    return tuple(
        FoundFile(
            file=name,
            bytes=_size_of_all(_split_parts(name, found)),
            reference=f"hf:{repo}:{name}",
        )
        for name in sorted(found)
        if name.endswith(".gguf") and _is_first_part(name)
    )


def _is_first_part(name: str) -> bool:
    split = SPLIT_PATTERN.fullmatch(name)
    return split is None or int(split["number"]) == 1


def _split_parts(name: str, found: dict[str, RemoteFile]) -> list[RemoteFile]:
    split = SPLIT_PATTERN.fullmatch(name)
    if split is None:
        return [found[name]]
    others = ((one, SPLIT_PATTERN.fullmatch(one)) for one in found)
    return [found[one] for one, match in others if match and match["stem"] == split["stem"]]


def _size_of_all(files: list[RemoteFile]) -> int | None:
    sizes = [file.bytes for file in files]
    return None if None in sizes else sum(size for size in sizes if size is not None)
