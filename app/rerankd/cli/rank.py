"""`rerankd rank`: rank lines of files or standard input, without a server."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Literal, TextIO

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress

from rerankd.cli import options, output
from rerankd.cli.help import HelpPage
from rerankd.cli.tables import TableColumn, show_table
from rerankd.domain import RankRequest
from rerankd.errors import InvalidRequest
from rerankd.ranking.collector import sigmoid
from rerankd.service import Service, build, preflight
from rerankd.settings import Settings
from rerankd.utf8 import decode_json, without_surrogates

InputFormat = Literal["auto", "lines", "jsonl"]

PROGRESS_DOCUMENTS = 64
"""Documents scored between two steps of the progress bar."""
LONG_WORK = 2 * PROGRESS_DOCUMENTS


class InputLine(Struct, frozen=True):
    """A document, and its 1-based line in its file."""

    text: str
    file: str
    line: int


class RankedLine(Struct, frozen=True):
    """One line of the output."""

    rank: int
    relevance_score: float
    text: str
    file: str
    line: int


class _JsonDocument(Struct):
    text: str


class RankCommand(HelpPage):
    """Turns `rank --ray` into `ray rank`, which takes pairs and no query."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **given: Any,
    ) -> click.Context:
        if "--ray" not in args:
            return super().make_context(info_name, args, parent, **given)
        pairs: click.Command = importlib.import_module("rerankd.cli.ray").rank_pairs_command
        left = [one for one in args if one != "--ray"]
        return pairs.make_context(f"{info_name} --ray", left, parent, **given)


@click.command(
    "rank",
    cls=RankCommand,
    examples=(
        "rerankd rank 'what is a panda?' notes.txt",
        "grep -rh panda docs | rerankd rank 'what is a panda?' --top-n 5",
    ),
)
@click.argument("query")
@click.argument("files", nargs=-1, type=click.File(encoding="utf-8", errors="replace"))
@click.option(
    "--top-n", type=click.IntRange(min=0), default=0, help="how many results to print; 0: all"
)
@click.option("--raw-scores", is_flag=True, help="print logits instead of probabilities")
@click.option("--instruction", help="what counts as relevant, for models that take one")
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "lines", "jsonl"]),
    default="auto",
    help='plain lines, or JSONL of strings or {"text": …}; auto checks the first line',
)
@click.option(
    "--ray",
    is_flag=True,
    expose_value=False,
    help="rank files of pairs on a Ray cluster instead; see rerankd rank --ray --help",
)
@options.with_json
@options.with_settings(options.MODEL_OPTIONS)
@click.option("--log-level", default="warning", help="debug, info, warning or error")
def rank_command(  # noqa: PLR0913 - one parameter an option
    query: str,
    files: Sequence[TextIO],
    top_n: int,
    raw_scores: bool,
    instruction: str | None,
    form: InputFormat,
    as_json: bool,
    config_file: Path | None,
    **flags: Any,
) -> None:
    """Rank the documents in FILES (default: standard input), one per line, for QUERY.

    Prints a table in a terminal and JSONL into a pipe.
    """
    settings = options.load(config_file, flags).settings
    if isinstance(sys.stdin, TextIOWrapper):  # else it has the locale's encoding and may raise
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    lines = [line for file in files or (sys.stdin,) for line in read_lines(file, form)]
    request = RankRequest(query=query, documents=(), raw_scores=True, instruction=instruction)
    logits = asyncio.run(_score_texts(settings, request, [line.text for line in lines]))
    rows = ranked_lines(lines, logits, top_n=top_n, raw_scores=raw_scores)
    output.print_results(rows, lambda console: show_ranking(rows, console), as_json=as_json)


def read_lines(file: TextIO, form: InputFormat) -> list[InputLine]:
    """Read a file's documents, blank lines left out.

    Raises InvalidRequest, which names file and line, for malformed JSONL, and for UTF-16.
    """
    name = getattr(file, "name", "-")
    lines = [without_surrogates(line) for line in file]
    if lines:
        lines[0] = lines[0].removeprefix("\ufeff")
        if "\0" in lines[0][:4]:
            raise InvalidRequest(f"{name} is encoded in UTF-16; convert it to UTF-8")
    numbered = [
        (number, text.rstrip("\r\n")) for number, text in enumerate(lines, start=1) if text.strip()
    ]
    if form == "auto":
        form = "jsonl" if numbered and _is_json_document(numbered[0][1]) else "lines"
    if form == "lines":
        return [InputLine(text, name, number) for number, text in numbered]
    return [
        InputLine(_document_text(text, name, number), name, number) for number, text in numbered
    ]


def _is_json_document(text: str) -> bool:
    try:
        decode_json(text, _JsonDocument)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _document_text(text: str, file: str, number: int) -> str:
    try:
        if text.lstrip().startswith('"'):
            return decode_json(text, str)
        return decode_json(text, _JsonDocument).text
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"{file}:{number}: {error}") from error


async def _score_texts(
    settings: Settings, request: RankRequest, texts: Sequence[str]
) -> list[float]:
    """Return each text's logit, scored in chunks: a score never depends on its neighbours."""
    if not texts:
        return []
    preflight(settings)
    service = build(settings)
    try:
        await service.start()
        with Progress(
            console=output.SafeConsole(stderr=True),
            transient=True,
            disable=len(texts) < LONG_WORK or not sys.stderr.isatty(),
        ) as progress:
            chunks = [
                texts[start : start + PROGRESS_DOCUMENTS]
                for start in range(0, len(texts), PROGRESS_DOCUMENTS)
            ]
            logits: list[float] = []
            for chunk in progress.track(chunks, description="ranking"):
                logits += await _score_chunk(service, request, chunk)
            return logits
    finally:
        await service.close()


async def _score_chunk(
    service: Service, request: RankRequest, chunk: Sequence[str]
) -> Iterable[float]:
    asked = msgspec.structs.replace(request, documents=tuple(chunk))
    result = await service.rank(asked)
    for warning in result.warnings:
        output.print_note(f"warning: {warning}")
    return [ranked.score for ranked in sorted(result.results, key=lambda one: one.index)]


def ranked_lines(
    lines: Sequence[InputLine], logits: Sequence[float], *, top_n: int, raw_scores: bool
) -> list[RankedLine]:
    """Return the output, best first, ties in input order."""
    order = sorted(range(len(lines)), key=lambda index: (-logits[index], index))
    return [
        RankedLine(
            place,
            logits[index] if raw_scores else sigmoid(logits[index]),
            lines[index].text,
            lines[index].file,
            lines[index].line,
        )
        for place, index in enumerate(order[: top_n or None], start=1)
    ]


RANKING_COLUMNS = (
    TableColumn("#", right=True),
    TableColumn("score", right=True),
    TableColumn("document", wraps=20),
    TableColumn("line", rank=1, wraps=14),
)


def show_ranking(rows: Sequence[RankedLine], console: Console) -> None:
    """Print the ranking for a person."""
    cells = [
        (str(row.rank), f"{row.relevance_score:.4f}", row.text, f"{row.file}:{row.line}")
        for row in rows
    ]
    show_table(console, RANKING_COLUMNS, cells)
