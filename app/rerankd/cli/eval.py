"""`rerankd eval`: which model ranks a person's own judged queries best, and how fast."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rerankd.cli import options, output
from rerankd.cli.eval_calibration import (
    CALIBRATE_CHOICES,
    keep_calibrations,
    require_local,
    show_reliability,
)
from rerankd.cli.eval_contenders import contenders_of, model_files
from rerankd.cli.eval_display import show_comparison
from rerankd.cli.help import HelpPage, option_under
from rerankd.cli.quant_loss import print_quant_loss, require_alone
from rerankd.errors import InvalidRequest
from rerankd.measuring.evaluation import report
from rerankd.measuring.evaluation.comparison import (
    Comparison,
    Task,
    compare_contenders,
)
from rerankd.measuring.evaluation.csv_table import as_csv_text
from rerankd.measuring.evaluation.data import MAX_CANDIDATES, Data, JsonlData
from rerankd.measuring.evaluation.metrics import CUTOFF, Measures
from rerankd.measuring.evaluation.rankers import Contender
from rerankd.measuring.evaluation.survey import survey_data
from rerankd.measuring.evaluation.trec import TrecFiles, read_trec
from rerankd.measuring.evaluation.trial import Tick
from rerankd.measuring.provenance import provenance_of
from rerankd.utf8 import without_surrogates

DEPTH = 100
MOST_RECALL = 1000

data_option, server_option = option_under("Judged data"), option_under("Servers")
output_option = option_under("Output")
JUDGED_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OWN_OPTIONS = frozenset({"model", "model_id", "log_level"})
"""Settings for which this command has its own options, or which differ between models."""


class ModelNames(click.ParamType[tuple[str, ...]]):
    """Names of models, comma-separated."""

    name = "ID[,ID…]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        parts = tuple(part.strip() for part in str(value).split(","))
        if not all(parts):
            self.fail(f"{value!r} is not a list of models", param, ctx)
        return parts


@click.command(
    "eval",
    cls=HelpPage,
    examples=(
        "rerankd eval judged.jsonl --models rerank-mini-en,bge-reranker-v2-m3",
        "rerankd eval --queries q.tsv --documents d.jsonl --qrels qrels.txt",
        "rerankd eval judged.jsonl --url http://127.0.0.1:8100 --html report.html",
        "rerankd eval judged.jsonl --calibrate keep",
        "rerankd eval judged.jsonl --quant-loss bge-reranker-v2-m3:Q4_K_M",
    ),
)
@click.argument("data", type=JUDGED_FILE, required=False)
@data_option("--queries", type=JUDGED_FILE, help="topics, instead of DATA: TSV (id, text) or JSONL")
@data_option("--documents", type=JUDGED_FILE, help="documents: TSV (id, text) or JSONL")
@data_option("--qrels", type=JUDGED_FILE, help="judgements in TREC's or BEIR's columns")
@data_option(
    "--run",
    type=JUDGED_FILE,
    help="first-stage run in TREC's columns; default: the order of the qrels",
)
@click.option(
    "--models",
    type=ModelNames(),
    default=(),
    help="models, named as for --model of `rerankd serve`",
)
@server_option(
    "--url",
    "urls",
    type=options.HTTP_ADDRESS,
    multiple=True,
    help="a running server to evaluate instead; repeat for several",
)
@server_option(
    "--pid", "pids", type=int, multiple=True, help="process of each --url, to measure its memory"
)
@server_option("--api-key", envvar="RERANKD_API_KEY", help="sent to --url [env: RERANKD_API_KEY]")
@data_option(
    "--depth",
    type=click.IntRange(1, MAX_CANDIDATES),
    default=DEPTH,
    show_default=True,
    help="candidates to rank per query",
)
@click.option(
    "--recall-at",
    type=click.IntRange(1, MOST_RECALL),
    default=CUTOFF,
    show_default=True,
    help="the k of recall@k",
)
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="seed of the resampling"
)
@click.option(
    "--quant-loss", metavar="MODEL", help="measure instead what MODEL loses against a larger type"
)
@click.option(
    "--against", metavar="MODEL", help="that larger type; default: the next one in the catalog"
)
@click.option(
    "--calibrate",
    type=click.Choice(CALIBRATE_CHOICES),
    help="fit scores to the judgements and recommend thresholds; keep: use them when serving",
)
@output_option("--json", "as_json", is_flag=True, help="print JSON even in a terminal")
@output_option("--csv", "as_csv", is_flag=True, help="print CSV, one line per model")
@output_option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="write a report with plots"
)
@options.with_settings((options.MODEL_OPTIONS | {"state_dir"}) - OWN_OPTIONS)
@click.option("--log-level", default="warning", help="debug, info, warning or error")
def eval_command(  # noqa: PLR0913 - one parameter an option
    data: Path | None,
    queries: Path | None,
    documents: Path | None,
    qrels: Path | None,
    run: Path | None,
    models: tuple[str, ...],
    urls: tuple[str, ...],
    pids: tuple[int, ...],
    api_key: str | None,
    depth: int,
    recall_at: int,
    seed: int,
    quant_loss: str | None,
    against: str | None,
    calibrate: str | None,
    as_json: bool,
    as_csv: bool,
    html: Path | None,
    config_file: Path | None,
    **flags: Any,
) -> None:
    """Compare models on judged queries: DATA is JSONL, one query with its documents per line.

    Each model ranks the same queries in turn; nDCG@10, MRR@10 and recall@k are compared with the
    first-stage order. docs/evaluation.md explains formats and figures.
    """
    _require_outputs(html, as_json=as_json, as_csv=as_csv)
    settings = options.load(config_file, flags).settings
    judged = _judged_data(data, _trec_files_of(queries, documents, qrels, run), depth)
    if quant_loss:
        require_alone(models, urls, bool(html or as_csv))
        print_quant_loss(judged, quant_loss, against, settings, seed=seed, as_json=as_json)
        return
    require_local(calibrate, urls)
    contenders = contenders_of(models, settings, servers=(urls, pids, api_key))
    task = _task_of(judged, Measures(recall_at), depth, seed, calibrate)
    found = asyncio.run(_compare_with_progress(task, contenders))
    files = [one for one in (data, queries, documents, qrels, run) if one is not None]
    files += () if urls else model_files(found, models or (settings.model,), settings)
    found = msgspec.structs.replace(found, made=provenance_of(files))
    _print_comparison(found, as_json=as_json, as_csv=as_csv)
    _write_page(html, found)
    keep_calibrations(calibrate, found, models or (settings.model,), settings)
    sys.exit(1 if found.failed else 0)


def _task_of(
    judged: Data, measures: Measures, depth: int, seed: int, calibrate: str | None
) -> Task:
    known = survey_data(judged, measures)
    return Task(
        data=judged,
        measures=measures,
        known=known,
        depth=depth,
        seed=seed,
        calibrate=calibrate is not None,
    )


def _require_outputs(html: Path | None, *, as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        raise click.UsageError("use either --json or --csv")
    if html is not None and not html.parent.is_dir():
        raise click.UsageError(f"--html: no folder {html.parent}")


def _trec_files_of(
    queries: Path | None, documents: Path | None, qrels: Path | None, run: Path | None
) -> TrecFiles | None:
    if queries and documents and qrels:
        return TrecFiles(queries=queries, documents=documents, qrels=qrels, run=run)
    if queries or documents or qrels or run:
        raise click.UsageError("--queries, --documents and --qrels must be used together")
    return None


def _judged_data(data: Path | None, files: TrecFiles | None, depth: int) -> Data:
    if data and files:
        raise click.UsageError("give either DATA or --queries, --documents and --qrels")
    if files:
        return read_trec(files, depth)
    if data:
        return JsonlData(data, depth)
    raise click.UsageError("give DATA, or --queries, --documents and --qrels")


async def _compare_with_progress(task: Task, contenders: Sequence[Contender]) -> Comparison:
    """Compare, with progress bars on stderr."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    seen = sys.stderr.isatty()
    with Progress(*columns, console=output.SafeConsole(stderr=True), disable=not seen) as progress:

        def begun(name: str) -> Tick:
            documents = task.known.documents
            if not seen:
                output.print_note(f"ranking {documents} documents with {name}")
            bar = progress.add_task(name, total=documents)
            return lambda done: progress.advance(bar, done)

        return await compare_contenders(task, contenders, begun)


def _print_comparison(found: Comparison, *, as_json: bool, as_csv: bool) -> None:
    for note in found.notes:
        output.print_note(f"note: {note}")
    if as_csv:
        output.print_text(as_csv_text(found), end="")
    else:
        output.print_results([found], lambda console: _show(found, console), as_json=as_json)


def _show(found: Comparison, console: Console) -> None:
    show_comparison(found, console)
    show_reliability(found, console)


def _write_page(path: Path | None, found: Comparison) -> None:
    if path is None:
        return
    try:
        path.write_text(without_surrogates(report.page(found)), "utf-8")
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror}") from error
