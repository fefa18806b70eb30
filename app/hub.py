"""Weights from the Hugging Face Hub, through huggingface_hub and its cache."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct

from app.errors import DownloadError

REFERENCE = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+):(?P<file>[\w./-]+\.gguf)(?:@(?P<revision>[\w./-]+))?"
)


class Reference(Struct, frozen=True):
    """A file on the Hub: `hf:owner/repo:file.gguf`, with `@revision` if it must stay the same."""

    repo: str
    file: str
    revision: str | None = None


def parse(text: str) -> Reference:
    """Read a reference. Raises DownloadError that shows the form it takes."""
    found = REFERENCE.fullmatch(text)
    if found is None:
        raise DownloadError(f"{text!r} is not of the form hf:owner/repo:file.gguf[@revision]")
    return Reference(found["repo"], found["file"], found["revision"])


def fetch(reference: Reference) -> Path:
    """Return the local path of a file, downloaded unless the Hub's cache has it.

    The Hub's usual variables apply (HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE). Raises
    DownloadError with one line that says why it can't be had.
    """
    # Imported here: a server of a local file needs neither its memory nor its start time.
    import huggingface_hub as hub  # noqa: PLC0415
    from huggingface_hub import errors  # noqa: PLC0415

    where = f"hf:{reference.repo}:{reference.file}"
    try:
        return Path(
            hub.hf_hub_download(reference.repo, reference.file, revision=reference.revision)
        )
    except errors.GatedRepoError as error:
        raise DownloadError(f"{where}: access is gated; accept its terms, set HF_TOKEN") from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadError(f"{where}: no such repository, or it is private") from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(f"{where}: no revision {reference.revision}") from error
    except errors.RemoteEntryNotFoundError as error:
        raise DownloadError(f"{where}: no such file in the repository") from error
    except errors.LocalEntryNotFoundError as error:
        raise DownloadError(f"{where}: not in the cache, and the Hub can't be reached") from error
    except errors.HFValidationError as error:
        raise DownloadError(f"{where}: the Hub allows no such name") from error
    except Exception as error:  # of the network: from httpx, httpx2 or Xet, by the client's version
        raise DownloadError(f"{where}: the download failed: {type(error).__name__}") from error
