"""A model that is to be served: its file found and judged, nothing loaded."""

from __future__ import annotations

import logging
from pathlib import Path

from msgspec import Struct, structs

from rerankd.calibration import Calibration
from rerankd.engine import check
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file
from rerankd.sources.catalog import Manifest
from rerankd.sources.gguf import Header, Verdict
from rerankd.sources.projectors import find_projector
from rerankd.sources.resolve import ResolvedModel, judge_file

logger = logging.getLogger(__name__)


class Target(Struct, frozen=True):
    """A model to serve: its file's header is read and judged, nothing is loaded."""

    id: str
    header: Header
    verdict: Verdict
    manifest: Manifest | None
    settings: Settings = Settings()
    """This model's settings: the server's, its deployment's own, and what tuning found."""
    unproven: bool = False
    """Whether it failed to put relevant texts first in the load check, and was accepted so."""
    calibration: Calibration | None = None
    """What maps its logits to calibrated scores, None where nothing was fitted."""
    mmproj: Path | None = None
    """The projector's file, by which the model sees pictures; None: it reads texts alone."""
    mmproj_bytes: int = 0

    @property
    def file_bytes(self) -> int:
        """The model's bytes on disk, its projector's among them."""
        return self.header.file_bytes + self.mmproj_bytes


def examine(model_id: str, path: Path, manifest: Manifest | None, settings: Settings) -> Target:
    """Read and judge a file before it is loaded.

    Raises ModelFileError or SettingsError, one line that says what is wrong and what to do.
    """
    settings = _with_manifest(settings, manifest)
    header, verdict = judge_file(ResolvedModel(path, manifest), settings.as_family)
    gguf_file.require_reranker(header, verdict, accept_degraded=settings.accept_degraded)
    check(header, verdict, settings)
    found = find_projector(header, gguf_file.family_of(header, verdict), manifest, settings)
    if found.note:
        logger.info("%s reads texts alone: %s", model_id, found.note)
    return Target(
        *(model_id, header, verdict, manifest, settings),
        mmproj=found.path,
        mmproj_bytes=found.bytes,
    )


def _with_manifest(settings: Settings, manifest: Manifest | None) -> Settings:
    """Return settings with what a manifest says in place of what is not set."""
    if manifest is None or manifest.max_picture_tokens is None or settings.max_picture_tokens:
        return settings
    return structs.replace(settings, max_picture_tokens=manifest.max_picture_tokens)


def languages_of(target: Target) -> tuple[str, ...]:
    """Return the languages of a model, from its manifest or its file; none where neither says."""
    if target.manifest is not None:
        return target.manifest.languages
    stated = target.header.metadata.get("general.languages")
    return tuple(map(str, stated)) if isinstance(stated, list) else ()
