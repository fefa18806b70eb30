"""Checkpoints on the Hub: the files that `rerankd convert` needs of a repository."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import constants
from msgspec import Struct

from rerankd.errors import DownloadError
from rerankd.sources.hub import cache, files
from rerankd.sources.hub.listing import ask_for_files
from rerankd.sources.hub.meter import OnFileProgress
from rerankd.sources.hub.reference import LONGEST_REFERENCE, RemoteFile

logger = logging.getLogger(__name__)

CHECKPOINT_PATTERN = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>(?!.*\.\.)\w[\w./-]*))?"
)
CONFIG = "config.json"
CHECKPOINT_FILES = re.compile(
    r"(?:config|tokenizer|tokenizer_config|special_tokens_map|modules|sentence_bert_config"
    r"|config_sentence_transformers)\.json|artifact\.metadata|vocab\.txt|README\.md"
    r"|model\.safetensors(?:\.index\.json)?|model-\d+-of-\d+\.safetensors"
    r"|\d+_\w+/(?:config\.json|model\.safetensors)"
)
"""At the top, and in the folders of sentence-transformers' modules."""


class CheckpointName(Struct, frozen=True):
    """A repository of a checkpoint, with the revision that is meant."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf:{self.repo}" + (f"@{self.revision}" if self.revision else "")


def parse_checkpoint(text: str) -> CheckpointName:
    """Parse `hf:owner/repo[@revision]`. Raises DownloadError, which shows that form."""
    found = CHECKPOINT_PATTERN.fullmatch(text) if len(text) <= LONGEST_REFERENCE else None
    if found is None:
        raise DownloadError(
            f"{text[:LONGEST_REFERENCE]!r} is not of the form hf:owner/repo[@revision]"
        )
    return CheckpointName(found["repo"], found["revision"])


def download_checkpoint(name: CheckpointName, *, on_progress: OnFileProgress) -> Path:
    """Return the folder of a checkpoint, with all its files downloaded and verified.

    All are of one commit. A checkpoint that is in the cache serves while the Hub doesn't answer.
    Raises DownloadError, also for a repository without safetensors.
    """
    try:
        known = ask_for_files(name.repo, name.revision)
    except DownloadError as error:
        cached = _cached(name)
        if cached is None:
            raise
        logger.warning("%s; using the checkpoint in the cache", error.message)
        return cached
    wanted = [one for file, one in known.items() if CHECKPOINT_FILES.fullmatch(file)]
    _require_weights(name, known)
    wanted.sort(key=lambda one: one.file != CONFIG)
    return files.download(wanted, on_progress=on_progress).parent


def converted_path(file: str) -> Path:
    """Return where a model that was converted on this machine lies."""
    return Path(constants.HF_HOME) / "rerankd" / file


def _require_weights(name: CheckpointName, known: Mapping[str, RemoteFile]) -> None:
    if CONFIG not in known:
        raise DownloadError(f"{name}: the repository has no {CONFIG}, so it is no checkpoint")
    if not any(re.fullmatch(r"model(-.*)?\.safetensors", file) for file in known):
        raise DownloadError(
            f"{name}: the repository has no model.safetensors; try @refs/pr/1 or another revision"
            " that has it"
        )


def _cached(name: CheckpointName) -> Path | None:
    """Return the folder of a checkpoint in the cache: of its revision, or the newest one."""
    snapshots = cache.blobs_folder(name.repo).parent / "snapshots"
    whole = [
        folder
        for folder in snapshots.glob(name.revision or "*")
        if (folder / CONFIG).is_file() and any(folder.glob("model*.safetensors"))
    ]
    return max(whole, key=lambda folder: folder.stat().st_mtime, default=None)
