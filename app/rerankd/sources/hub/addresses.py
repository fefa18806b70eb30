"""Addresses of the Hub's pages, as people copy them from a browser, to names of models."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

from rerankd.errors import DownloadError

HUB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
"""The Hub's own; downloads come from HF_ENDPOINT all the same, where that names a mirror."""
FILE_PAGES = frozenset({"resolve", "blob", "raw"})
DEFAULT_REVISION = "main"
SHOWN_FILE = "show_file_info"
"""The query by which a model's page shows a file's header."""
_ADDRESS = re.compile(r"(?:https?://|(?:www\.)?huggingface\.co/|hf\.co/)", re.IGNORECASE)
_FILE = re.compile(r"[\w./-]+\.gguf")


def is_address(text: str) -> bool:
    """Return whether a text is a web address, or one of the Hub's without https://."""
    return _ADDRESS.match(text) is not None


def reference_of(address: str) -> str:
    """Return the name, `hf:owner/repo` or longer, of what an address of the Hub shows.

    Raises DownloadError for an address of another host and one that shows no model.
    """
    parts = urlsplit(address if "://" in address else f"https://{address}")
    if (parts.hostname or "").lower() not in HUB_HOSTS:
        raise DownloadError(
            f"{_cited(address)}: models are downloaded from https://huggingface.co only; for other"
            " hosts, download the file and give its path"
        )
    words = [unquote(word) for word in parts.path.split("/") if word]
    if len(words) < 2:  # noqa: PLR2004 - owner and repository
        raise DownloadError(f"{_cited(address)}: not the address of a model")
    repo, kind, rest = "/".join(words[:2]), words[2:3], words[3:]
    repo, _, quantization = repo.partition(":")  # Ollama's form: hf.co/owner/repo:Q4_K_M
    if kind and kind[0] in FILE_PAGES and len(rest) > 1:
        return f"hf:{repo}:{_gguf(address, '/'.join(rest[1:]), repo)}{_pinned(rest[0])}"
    revision = rest[0] if kind == ["tree"] and rest else DEFAULT_REVISION
    shown = parse_qs(parts.query).get(SHOWN_FILE, [""])[0]
    file = _gguf(address, shown, repo) if shown else quantization
    return f"hf:{repo}{':' if file else ''}{file}{_pinned(revision)}"


def _pinned(revision: str) -> str:
    return "" if revision == DEFAULT_REVISION else f"@{revision}"


def _gguf(address: str, file: str, repo: str) -> str:
    if not _FILE.fullmatch(file):
        raise DownloadError(
            f"{_cited(address)}: only GGUF files can be served; if the repository is a checkpoint,"
            f" `rerankd convert hf:{repo}` makes one"
        )
    return file


def _cited(address: str) -> str:
    return repr(address[:200])
