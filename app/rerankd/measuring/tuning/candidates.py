"""What tuning compares: settings, and what they came to."""

from __future__ import annotations

import msgspec
from msgspec import Struct


class TuningCandidate(Struct, frozen=True, kw_only=True):
    """Settings that may be the fastest."""

    workers: int
    threads: int
    step_tokens: int
    flash_attn: str = "on"
    weights: str = "file"

    def __str__(self) -> str:
        """Return the settings in one short line."""
        return (
            f"{self.workers} x {self.threads} threads, steps of {self.step_tokens}, "
            f"flash attention {self.flash_attn}, weights {self.weights}"
        )


class TuningTrial(Struct, frozen=True, kw_only=True):
    """What a candidate came to, in tokens/s and as a ratio to the incumbent of its knob."""

    knob: str
    candidate: TuningCandidate
    tokens_per_second: float
    ratio: float
    chosen: bool = False
    error: float | None = None
    """Largest difference of a logit from that of the same weights in F32, where weights vary."""


def varied(candidate: TuningCandidate, **changes: object) -> TuningCandidate:
    """Return a candidate with some settings changed."""
    return msgspec.structs.replace(candidate, **changes)
