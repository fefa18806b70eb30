"""Which projector a model sees pictures with."""

from __future__ import annotations

from pathlib import Path

from rerankd.deployments.applied_tuning import file_head
from rerankd.lru import digest_of


def projector_state(mmproj: Path | None) -> tuple[object, ...]:
    """Return what tells one projector's file from another's, empty without one."""
    if mmproj is None:
        return ()
    status = mmproj.stat()
    return status.st_size, status.st_mtime_ns, digest_of(file_head(mmproj))
