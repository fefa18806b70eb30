"""What a header may hold: several times what the largest models have, and little enough to read.

A hostile header then costs the server a second of one thread and some megabytes, and refuses
what would cost llama.cpp far more.
"""

from __future__ import annotations

MOST_DIMENSIONS = 4  # GGML_MAX_DIMS
LONGEST_TENSOR_NAME = 63  # GGML_MAX_NAME, less its end
LONGEST_KEY = 512
KEPT_TEXT_BYTES = 1024**2
"""Longer texts are skipped: some files carry a whole `tokenizer.json`, which llama.cpp ignores."""
KEPT_ARRAY = 64
"""Longer arrays (vocabularies, merges) are skipped: 250,000 strings cost seconds and memory."""
HEADER_BYTES = 128 * 1024**2

KEYS = "metadata keys"
TENSORS = "tensors"
ITEMS = "values in short arrays"
STRINGS = "strings in arrays"
STRING_BYTES = "bytes of strings in arrays"
TEXT_BYTES = "bytes of text"

MOST = {
    KEYS: 1024,
    TENSORS: 16_384,
    ITEMS: 4096,
    STRINGS: 1_500_000,
    STRING_BYTES: 48 * 1024**2,
    TEXT_BYTES: 16 * 1024**2,
}
"""For a whole model, whatever the number of its parts."""


class Allowance:
    """What is left of MOST while one model's header is read."""

    def __init__(self) -> None:
        self._left = dict(MOST)

    def take(self, kind: str, amount: int) -> None:
        """Take some of a kind. Raises ValueError for more than any model has."""
        self._left[kind] -= amount
        if self._left[kind] < 0:
            raise ValueError(f"more than {MOST[kind]:,} {kind}, which no model has")
