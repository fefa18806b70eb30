"""Preparing a request ends when nobody waits for it any more."""

from __future__ import annotations

import math
import time

import pytest

from rerankd.errors import DeadlineExceeded
from rerankd.ranking.preparation import Abandoned, Patience


def test_patience_lasts_until_the_request_is_abandoned() -> None:
    """Without a deadline, only leaving ends the work."""
    patience = Patience(math.inf)

    patience.check()
    patience.end()

    with pytest.raises(Abandoned):
        patience.check()


def test_patience_keeps_the_deadline() -> None:
    """Past its deadline a request isn't tokenised any further."""
    with pytest.raises(DeadlineExceeded):
        Patience(time.monotonic()).check()
