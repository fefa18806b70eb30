"""Show that GELU's form is what is left between the references and rerankd; prints a table.

It needs no PyTorch: the references are in tests/data/references.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from support.checkpoints import CHECKPOINTS
from support.gelu_forms import gelu_parts
from support.references import converted

HEAD = (
    "| model's kind | rerankd from the reference | exact GELU from the reference"
    " | rerankd from ggml's GELU, median | largest |\n|---|---|---|---|---|"
)


def main() -> None:
    print(HEAD)
    for name in CHECKPOINTS:
        with tempfile.TemporaryDirectory() as folder:
            parts = gelu_parts(name, converted(name, Path(folder)))
        numbers = (parts.whole.max(), parts.exact.max(), np.median(parts.ggml), parts.ggml.max())
        print(f"| {name} | {' | '.join(f'{one:.1g}' for one in numbers)} |")


if __name__ == "__main__":
    main()
