"""What `rerankd rank` prints: the documents with all their fields, best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from rich.console import Console

from rerankd.cli.rank_input import InputDocument
from rerankd.cli.rank_pictures import DATA_SCHEME
from rerankd.cli.rank_scoring import ScoredText
from rerankd.cli.tables import TableColumn, show_table

SHOWN_CHARACTERS = 400
"""Characters of a document that a person is shown."""
OWN_FIELDS = frozenset(
    {"rank", "relevance_score", "text", "file", "line", "passages", "truncated", "picture_sizes"}
)
OTHERS_PREFIX = "input_"
"""Before fields of the input that have a name of ours."""

RANKING_COLUMNS = (
    TableColumn("#", right=True),
    TableColumn("score", right=True),
    TableColumn("id", rank=1, wraps=12),
    TableColumn("document", wraps=20),
    TableColumn("line", rank=2, wraps=14),
)


class RankedLine(Struct, frozen=True):
    """One line of the output."""

    rank: int
    document: InputDocument
    scored: ScoredText

    @property
    def fields(self) -> dict[str, Any]:
        """The line as JSON has it: our fields, then those of the input."""
        document, scored = self.document, self.scored
        found: dict[str, Any] = {
            "rank": self.rank,
            "relevance_score": scored.score,
            "text": document.text,
            "file": document.file,
            "line": document.line,
        }
        for name, value in document.fields.items():
            found[f"{OTHERS_PREFIX}{name}" if name in OWN_FIELDS else name] = value
        if scored.passages:
            found["passages"] = [
                {
                    "start": one.start,
                    "end": one.end,
                    "relevance_score": one.score,
                    "text": document.text[one.start : one.end],
                }
                for one in scored.passages
            ]
        if scored.sizes:
            found["picture_sizes"] = scored.sizes
        if scored.truncated:
            found["truncated"] = True
        return found


def ranked_lines(
    documents: Sequence[InputDocument], scores: Sequence[ScoredText], *, top_n: int
) -> list[RankedLine]:
    """Return the output, best first, ties in input order; `top_n` 0 means all."""
    order = sorted(range(len(documents)), key=lambda index: (-scores[index].score, index))
    return [
        RankedLine(place, documents[index], scores[index])
        for place, index in enumerate(order[: top_n or None], start=1)
    ]


def show_ranking(rows: Sequence[RankedLine], console: Console) -> None:
    """Print the ranking for a person: of each document the best passage, or its beginning."""
    show_table(console, RANKING_COLUMNS, [_ranking_cells(row) for row in rows])


def _ranking_cells(row: RankedLine) -> tuple[str, ...]:
    document = row.document
    name = document.fields.get("id")
    return (
        str(row.rank),
        f"{row.scored.score:.4f}",
        "" if name is None else str(name),
        _shown_text(row),
        document.place,
    )


def _shown_text(row: RankedLine) -> str:
    text = row.document.text
    if row.document.picture:
        return " ".join([_shown_picture(row), *text.split()])[:SHOWN_CHARACTERS]
    if row.scored.passages:
        best = row.scored.passages[0]
        before, after = "…" * (best.start > 0), "…" * (best.end < len(text))
        text = f"{before}{text[best.start : best.end]}{after}"
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _shown_picture(row: RankedLine) -> str:
    """Return what names a picture, and its size as the model saw it."""
    image = row.document.image
    named = image.partition(",")[0] if image.startswith(DATA_SCHEME) else image
    sizes = ", ".join(f"{width} × {height}" for width, height in row.scored.sizes)
    return f"{named} ({sizes})" if sizes else named
