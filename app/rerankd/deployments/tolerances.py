"""How far two logits of one pair may lie apart before a model is taken for broken."""

from __future__ import annotations

TOLERANCE = 0.5
"""How far a pair's logits alone and in a batch may differ: far above rounding in any type."""
RELATIVE_TOLERANCE = 0.05
"""The same as a share of the logit, for models whose logits are large."""


def disagree(alone: float, packed: float) -> bool:
    """Return whether a pair's logits alone and in a batch can't both be right."""
    return abs(alone - packed) > max(TOLERANCE, RELATIVE_TOLERANCE * abs(alone))
