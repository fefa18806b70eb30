"""Parts of a file on the Hub, without the rest of it."""

from __future__ import annotations

from collections.abc import Iterator

from huggingface_hub import constants, hf_hub_url
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    build_hf_headers,
    get_session,
    hf_raise_for_status,
)

from rerankd.errors import DownloadError
from rerankd.sources.hub.client import apply_proxy_rule, quieten_client
from rerankd.sources.hub.description import HubFile
from rerankd.sources.hub.errors import translated

PARTIAL = 206


def read_range(remote: HubFile, start: int, end: int) -> bytes:
    """Return the bytes of a file from `start` up to `end`.

    A Hub that sends the whole file instead is read as far as `end`, and no further. Raises
    DownloadError.
    """
    quieten_client()
    apply_proxy_rule()
    file = remote.file
    headers = {
        **build_hf_headers(),
        "Accept-Encoding": "identity",
        "Range": f"bytes={start}-{end - 1}",
    }
    with (
        translated(file),
        get_session().stream(
            "GET",
            hf_hub_url(file.repo, file.file, revision=remote.commit),
            headers=headers,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
            follow_redirects=True,
        ) as response,
    ):
        hf_raise_for_status(response)
        skipped = 0 if response.status_code == PARTIAL else start
        part = _first_bytes(response.iter_bytes(), skipped + end - start)[skipped:]
    if len(part) != end - start:
        raise DownloadError(f"{file}: received {len(part)} bytes, expected {end - start}")
    return part


def _first_bytes(pieces: Iterator[bytes], count: int) -> bytes:
    found = bytearray()
    for piece in pieces:
        found += piece
        if len(found) >= count:
            break
    return bytes(found[:count])
