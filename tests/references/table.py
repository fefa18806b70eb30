"""The table of differences in docs/models.md; `python -m references.table` writes it.

It needs no PyTorch: the references are in tests/data/references. Other families add their rows by a
function in ROWS.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from support.causal_checkpoints import KINDS, records, write
from support.causal_references import comparisons as scored
from support.checkpoints import CHECKPOINTS, REFERENCES
from support.colbert_checkpoints import COLBERTS
from support.colbert_references import colbert_comparisons, converted_colbert
from support.picture_checkpoint import picture_records, write_pictured
from support.picture_references import decoded, picture_comparisons
from support.places import ROOT
from support.references import Comparison, comparisons, converted

PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- differences: begin -->", "<!-- differences: end -->"
HEAD = (
    "| family | model's kind | reference | pairs | scores from, to | largest difference | as served"
    " | order |\n|---|---|---|---|---|---|---|---|\n"
)
FAMILIES = {"ms-marco": "bert", "bge": "xlm-roberta", "gte-modernbert": "modern-bert"}

Row = tuple[str, ...]


def encoders() -> Iterator[Row]:
    """Yield a row for each checkpoint that tests/references/encoders.py scored."""
    by = json.loads((REFERENCES / "encoders.json").read_text("utf-8"))
    for name in CHECKPOINTS:
        with tempfile.TemporaryDirectory() as folder:
            path = converted(name, Path(folder))
            exact = list(comparisons(name, path, flash_attn="off"))
            served = list(comparisons(name, path))
        family = FAMILIES.get(name.partition(",")[0], "modern-bert")
        yield _row(family, name, by[name]["by"], exact, served)


def colberts() -> Iterator[Row]:
    """Yield a row for each checkpoint that tests/references/colbert.py scored."""
    by = json.loads((REFERENCES / "colbert.json").read_text("utf-8"))
    for name in COLBERTS:
        with tempfile.TemporaryDirectory() as folder:
            path = converted_colbert(name, Path(folder))
            exact = list(colbert_comparisons(name, path, flash_attn="off"))
            served = list(colbert_comparisons(name, path))
        yield _row("colbert", name, by[name]["by"], exact, served)


def causal() -> Iterator[Row]:
    """Yield a row for each model that tests/references/causal.py scored."""
    for name, kind in KINDS.items():
        record = records()[name]
        with tempfile.TemporaryDirectory() as folder:
            path = write(name, Path(folder) / f"{name}.gguf")
            exact, served = (
                [one for one, _ in scored(name, record["requests"], path, **settings)]
                for settings in ({"flash_attn": "off"}, {"kv_type": "f16"})
            )
        yield _row(kind.family, name, record["by"], exact, served)


def pictured() -> Iterator[Row]:
    """Yield a row for the model that tests/references/pictures.py scored with pictures.

    Needs a build of llama.cpp with libmtmd.
    """
    pictures = decoded()
    with tempfile.TemporaryDirectory() as folder:
        model, mmproj = write_pictured(Path(folder))
        exact, served = (
            [one.compared for one in picture_comparisons(model, mmproj, pictures, **settings)]
            for settings in ({"flash_attn": "off"}, {"kv_type": "f16"})
        )
    by = picture_records()["by"]
    yield _row("qwen3-vl", "Qwen3-VL-Reranker-2B, pictures", by, exact, served)


ROWS: tuple[Callable[[], Iterator[Row]], ...] = (encoders, colberts, causal, pictured)


def _row(family: str, name: str, by: str, exact: list[Comparison], served: list[Comparison]) -> Row:
    expected = np.concatenate([one.expected for one in exact])
    return (
        f"`{family}`",
        name,
        by,
        str(len(expected)),
        f"{expected.min():.1f}, {expected.max():.1f}",
        _largest([one.actual - one.expected for one in exact]),
        _largest([one.actual - one.expected for one in served]),
        _order([(one.expected, one.actual) for one in exact]),
    )


def _largest(differences: list[np.ndarray]) -> str:  # type: ignore[type-arg]
    return f"{np.abs(np.concatenate(differences)).max():.1g}"


def _order(scores: list[tuple[np.ndarray, np.ndarray]]) -> str:  # type: ignore[type-arg]
    """Return whether all documents stand as in the reference, else how many pairs are swapped."""
    swapped = 0
    for expected, actual in scores:
        first, second = (np.sign(one[:, None] - one[None, :]) for one in (expected, actual))
        swapped += int((first * second < 0).sum()) // 2
    return f"{swapped} swapped" if swapped else "equal"


def main() -> None:
    lines = [f"| {' | '.join(row)} |\n" for rows in ROWS for row in rows()]
    table = f"{BEGIN}\n{HEAD}{''.join(lines)}{END}"
    page = PAGE.read_text("utf-8")
    found = re.sub(f"{BEGIN}.*?{END}", lambda _: table, page, flags=re.DOTALL)
    PAGE.write_text(found, "utf-8")


if __name__ == "__main__":
    main()
