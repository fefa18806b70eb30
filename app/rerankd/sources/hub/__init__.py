"""Models from the Hugging Face Hub: fetched, verified, kept in the Hub's own cache.

The Hub's usual variables apply (HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE,
HF_HUB_DOWNLOAD_TIMEOUT). Imports stand inside the functions: a server of a local file needs
neither the client's memory nor its time to start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from rerankd.sources.hub.reference import Progress, Reference, RemoteFile, files_of, parse

__all__ = (
    "Progress",
    "Reference",
    "RemoteFile",
    "download",
    "fetch",
    "files_of",
    "installed",
    "parse",
    "remove",
    "resolve",
    "resolve_installed",
)


def resolve(reference: Reference) -> tuple[RemoteFile, ...]:
    """Return the files a reference means, parts of a split model in order.

    A quantization is looked up in the repository, or in the cache when the Hub can't be asked.
    Raises DownloadError, with the candidates where several files or none are meant.
    """
    from rerankd.sources.hub import listing  # noqa: PLC0415 - see the module's docstring

    return listing.resolve(reference)


def resolve_installed(reference: Reference) -> tuple[RemoteFile, ...]:
    """Return the files a reference means by what the cache has, without the network.

    Raises DownloadError where a quantization means several files or none there.
    """
    from rerankd.sources.hub import listing  # noqa: PLC0415 - see the module's docstring

    return listing.resolve_installed(reference)


def download(
    files: Sequence[RemoteFile],
    *,
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Path:
    """Return the path of the first of a model's files, all of them downloaded and verified.

    Requests for the same files share one download. `on_progress` is called in this thread, some
    times a second and at the end. Once `stop` is set, this raises within a second; what has
    arrived is kept for the next try. Raises DownloadError: one line that says why.
    """
    from rerankd.sources.hub import transfer  # noqa: PLC0415 - see the module's docstring

    return transfer.download(files, on_progress=on_progress, stop=stop)


def fetch(reference: Reference) -> Path:
    """Return the path of the file a reference means, downloaded and verified if need be.

    Raises DownloadError with one line that says why it can't be had.
    """
    return download(resolve(reference))


def installed(wanted: Reference | Sequence[RemoteFile]) -> Path | None:
    """Return the path of a model's first file if all are here and verified, without the network.

    A file that something else put into the cache counts once `download` has verified it.
    """
    from rerankd.sources.hub import cache, listing  # noqa: PLC0415 - see above

    if isinstance(wanted, Reference):
        return listing.installed(wanted)
    return cache.installed(wanted)


def remove(files: Sequence[RemoteFile]) -> int:
    """Delete a model's files from the cache, with all their revisions; return the bytes freed.

    Raises DownloadError while they are being downloaded.
    """
    from rerankd.sources.hub import cache, transfer  # noqa: PLC0415 - see above

    transfer.require_idle(files)
    return cache.remove(files)
