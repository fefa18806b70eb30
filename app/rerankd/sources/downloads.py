"""From a reference or a manifest's entry to files on this machine.

The Hub's modules are imported where a download or a look into its cache needs them: a server of a
local file spends neither the memory nor the start-up time of the Hub's client.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from rerankd.sources.catalog.manifest import PublishedFile
from rerankd.sources.hub.meter import DownloadProgress, FileProgress
from rerankd.sources.hub.reference import Reference, RemoteFile, split_files

HUB_PREFIX = "hf:"

OnDownload: TypeAlias = Callable[[DownloadProgress], None]


def remote_files(file: PublishedFile) -> tuple[RemoteFile, ...]:
    """Return a model's files on the Hub, none where it lies beside its manifest."""
    if file.repo is None:
        return ()
    return split_files(RemoteFile(file.repo, file.file, file.revision, file.bytes, file.sha256))


def download_files(
    wanted: Reference | Sequence[RemoteFile],
    on_progress: OnDownload | None = None,
    stop: threading.Event | None = None,
) -> Path:
    """Return the first file's path, all of them downloaded, until `stop` is set.

    Raises DownloadError.
    """
    from rerankd.sources.hub import files  # noqa: PLC0415 - see the module's docstring

    def on_file(now: FileProgress) -> None:
        if on_progress:
            on_progress(now.amount)

    return files.download(wanted, on_progress=on_file, stop=stop)


def downloaded(wanted: Reference | Sequence[RemoteFile]) -> Path | None:
    """Return the first file's path if all of them are here, without the network."""
    from rerankd.sources.hub import files  # noqa: PLC0415 - see the module's docstring

    return files.find_installed(wanted)
