"""What the Hub says of a file before any of it is used: commit, etag and size."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from msgspec import Struct

from rerankd.errors import DownloadError
from rerankd.sources.hub import cache
from rerankd.sources.hub.client import apply_proxy_rule, quieten_client
from rerankd.sources.hub.errors import may_pass
from rerankd.sources.hub.reference import RemoteFile

logger = logging.getLogger(__name__)

LARGEST_FILE = 1 << 42

COMMIT_PATTERN = re.compile(r"[0-9a-f]{40}")
ETAG_PATTERN = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{7,127}")
"""An etag becomes a file's name, so that nothing else may be in it."""


class HubFile(Struct, frozen=True):
    """A file as the Hub describes it; `etag` is its SHA-256 if it is stored as a large file."""

    file: RemoteFile
    commit: str
    etag: str
    bytes: int

    @property
    def sha256(self) -> str | None:
        """What the bytes must hash to, where the manifest or the Hub says so."""
        own = self.etag if cache.SHA256.fullmatch(self.etag) else None
        return self.file.sha256 or own

    @property
    def blob(self) -> Path:
        return cache.blobs_folder(self.file.repo) / self.etag

    @property
    def partial(self) -> Path:
        return self.blob.with_name(f"{self.etag}.incomplete")

    @property
    def missing(self) -> int:
        """The bytes still to come."""
        if self.blob.exists():
            return 0
        have = self.partial.stat().st_size if self.partial.exists() else 0
        return self.bytes - have if have <= self.bytes else self.bytes


def describe_remote(file: RemoteFile, *, retry: bool) -> HubFile:
    """Return what the Hub says of a file. Raises what the client raises, and DownloadError.

    `retry` tries again after what may pass. Where nothing can be reached, that would only take
    long: the first failure is the answer.
    """
    try:
        return _ask_hub(file, retry=False)
    except Exception as error:
        if not retry or not may_pass(error):
            raise
    logger.warning("%s: the Hub is in trouble; trying again", file)
    return _ask_hub(file, retry=True)


def _ask_hub(file: RemoteFile, *, retry: bool) -> HubFile:
    """Return what the Hub says of a file, checked before any of it is used."""
    quieten_client()
    apply_proxy_rule()
    answer = huggingface_hub.get_hf_file_metadata(
        huggingface_hub.hf_hub_url(file.repo, file.file, revision=file.revision),
        timeout=constants.HF_HUB_ETAG_TIMEOUT,
        retry_on_errors=retry,
    )
    if not COMMIT_PATTERN.fullmatch(answer.commit_hash or "") or not ETAG_PATTERN.fullmatch(
        answer.etag or ""
    ):
        raise DownloadError(
            f"{file}: {constants.ENDPOINT} does not answer like a Hub; "
            "check HF_ENDPOINT and the proxy"
        )
    if answer.size is None or not 0 < answer.size <= LARGEST_FILE:
        raise DownloadError(f"{file}: the Hub reports a size of {answer.size} bytes")
    return HubFile(file, str(answer.commit_hash), str(answer.etag), answer.size)
