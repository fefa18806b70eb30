"""What the Hub's client raises, as a DownloadError of one line."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, errors

from rerankd.errors import DownloadError, RerankdError

RETRY_SECONDS = 60
"""When to try again where the Hub doesn't say."""

UNREACHABLE = (
    "not in the cache, and the Hub cannot be reached; check the network, HF_ENDPOINT and the proxy"
)

ERROR_LINES: tuple[tuple[type[Exception], str], ...] = (
    (errors.GatedRepoError, "access is gated; accept the terms on the Hub, then set HF_TOKEN"),
    (errors.RepositoryNotFoundError, "no such repository, or it is private"),
    (errors.DisabledRepoError, "the Hub has disabled this repository"),
    (errors.RemoteEntryNotFoundError, "no such file in the repository"),
    (errors.RevisionNotFoundError, "no such revision in the repository"),
    (errors.OfflineModeIsEnabled, "not in the cache, and HF_HUB_OFFLINE is set"),
    (errors.LocalEntryNotFoundError, UNREACHABLE),
    (errors.HFValidationError, "not a valid name on the Hub"),
    (PermissionError, "cannot write to the cache; set HF_HOME to a writable folder"),
)
"""The most specific first: some derive from others."""

STATUS_LINES = {
    401: "the Hub rejected the token; check HF_TOKEN",
    403: "the Hub denied access: this token cannot read the repository",
    404: "not found on the Hub",
    429: "the Hub's rate limit is reached; try again later, or set HF_TOKEN",
}

SILENT = "ReadTimeout"
"""What the HTTP library raises where a connection was made and no answer comes."""

LOST_CONNECTION = (SILENT, "ReadError", "RemoteProtocolError", "WriteError")
"""What the HTTP library raises where a connection was made and lost."""

NETWORK_LINES = {
    **dict.fromkeys(
        ("ConnectError", "ConnectTimeout", "ProxyError"),
        UNREACHABLE,
    ),
    **{
        name: f"the connection was lost repeatedly ({name}); the next download resumes from there"
        for name in LOST_CONNECTION
    },
}
"""By name: which HTTP library the client uses depends on its version."""

UNANSWERED = "the Hub does not answer; check the network, HF_ENDPOINT and the proxy"
"""For a lost connection on which nothing was being downloaded."""


def may_pass(error: Exception) -> bool:
    """Return whether trying again soon may help.

    Not where nothing can be reached at all. A Hub that has kept silent for the whole time-out is
    not asked again either: that would only take several times as long.
    """
    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code in _RETRYABLE
    return type(error).__name__ in LOST_CONNECTION and type(error).__name__ != SILENT


@contextmanager
def asking(where: object) -> Iterator[None]:
    """Do as `translated` does for a question to the Hub, during which nothing is downloaded."""
    with translated(where):
        try:
            yield
        except Exception as error:
            if type(error).__name__ not in LOST_CONNECTION:
                raise
            raise DownloadError(f"{where}: {UNANSWERED}") from error


@contextmanager
def translated(where: object) -> Iterator[None]:
    """Turn whatever the client raises into a DownloadError that starts with `where`."""
    try:
        yield
    except RerankdError:
        raise
    except errors.HfHubHTTPError as error:
        retry_after = RETRY_SECONDS if error.response.status_code in _RETRYABLE else None
        raise DownloadError(f"{where}: {_line_for(error)}", retry_after=retry_after) from error
    except Exception as error:  # of the network, of the disk, of the client itself
        raise DownloadError(f"{where}: {_line_for(error)}") from error


_RETRYABLE = frozenset({429, 500, 502, 503, 504})


def _line_for(error: Exception) -> str:
    for kind, line in ERROR_LINES:
        if isinstance(error, kind):
            return line
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        return STATUS_LINES.get(status, f"the Hub returned {status}; try again later")
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"no space left in {constants.HF_HUB_CACHE}"
    name = type(error).__name__
    return NETWORK_LINES.get(name, f"the download failed: {name}")
