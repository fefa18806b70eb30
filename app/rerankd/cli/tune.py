"""`rerankd tune`: find a model's fastest settings on this machine, and have serve use them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from rerankd import settings
from rerankd.cli import options, output
from rerankd.cli.completion import complete_model
from rerankd.cli.help import HelpPage
from rerankd.cli.plain_log import configure_logging
from rerankd.cli.progress import fetch_model
from rerankd.cli.provenance_display import show_provenance
from rerankd.cli.tables import TableColumn, show_table
from rerankd.deployments.applied_tuning import AppliedTuning, forget_tuning, keep_tuning
from rerankd.deployments.target import examine
from rerankd.engine.llama.requantize import FILE_TYPES, LOSSLESS
from rerankd.measuring.provenance import Provenance, provenance_of
from rerankd.measuring.tuning.candidates import TuningTrial
from rerankd.measuring.tuning.search import find_fastest
from rerankd.sources import gguf as gguf_file
from rerankd.sources import resolve as sources

MEASURED = {"workers", "threads", "step_tokens", "weights"}
TAKEN = (options.MODEL_OPTIONS | {"state_dir"}) - MEASURED - {"model", "model_id"}
ACCEPTABLE = sorted(FILE_TYPES.keys() - LOSSLESS)


@click.command(
    "tune",
    cls=HelpPage,
    examples=(
        "rerankd tune",
        "rerankd tune bge-reranker-v2-m3 --seconds 300",
        "rerankd tune bge-reranker-v2-m3 --accept bf16 --dry-run",
        "rerankd tune bge-reranker-v2-m3 --forget",
    ),
)
@click.argument("model", required=False, shell_complete=complete_model)
@click.option("--seconds", default=110.0, show_default=True, help="approximate time to spend")
@click.option(
    "--accept",
    type=click.Choice(ACCEPTABLE),
    multiple=True,
    help="also try weights of this type, which rounds them; it is chosen only where its scores"
    " are at least as near to the F32 ones as the file's own are",
)
@click.option(
    "--forget", is_flag=True, help="delete the result for this model and use the defaults"
)
@click.option("--dry-run", is_flag=True, help="measure without storing the result")
@options.with_json
@options.with_settings(TAKEN)
def tune_command(  # noqa: PLR0913 - one parameter an option
    model: str | None,
    seconds: float,
    accept: tuple[str, ...],
    forget: bool,
    dry_run: bool,
    as_json: bool,
    config_file: Path | None,
    **flags: Any,
) -> None:
    """Find the fastest workers, threads, step size, weights and flash attention for MODEL.

    MODEL is a catalog id, a path or hf:owner/repo:file.gguf; default: the one that serve takes.
    The result is kept in the state folder, and serve uses it wherever you set nothing else.
    Weights are only converted to F32, which loses nothing, unless you --accept more. Run it
    on a machine that does nothing else. Prints a table in a terminal and JSONL into a pipe.
    """
    own = options.load(config_file, {**flags, "model": model}).settings
    configure_logging("warning")  # each of some fifty loads would say the same
    resolved = fetch_model(own)
    if forget:
        known = forget_tuning(gguf_file.read(resolved.path), own)
        output.print_note("forgotten" if known else "there is no tuning result for this file")
        return
    name = sources.default_name(own.model, own)
    target = examine(name, resolved.path, resolved.manifest, own)
    trials: list[TuningTrial] = []

    def on_trial(trial: TuningTrial) -> None:
        trials.append(trial)
        output.print_note(f"{trial.knob}: {trial.candidate}: {trial.ratio:.2f}")

    result = find_fastest(target, own, seconds=seconds, accept=accept, on_trial=on_trial)
    if not dry_run:
        keep_tuning(target.header, own, result)
    where = "not kept" if dry_run else f"kept in {settings.state_folder(own)}"
    made = provenance_of([resolved.path])
    output.print_results(
        (*trials, msgspec.structs.asdict(result) | {"made": made}),
        lambda console: show_tuning(trials, result, where, made, console),
        as_json=as_json,
    )


TRIAL_COLUMNS = (
    TableColumn("knob"),
    TableColumn("candidate", wraps=12),
    TableColumn("tokens/s", rank=2, right=True),
    TableColumn("ratio", rank=1, right=True),
    TableColumn("error", rank=3, right=True),
    TableColumn("chosen"),
)


def show_tuning(
    trials: Sequence[TuningTrial],
    result: AppliedTuning,
    where: str,
    made: Provenance,
    console: Console,
) -> None:
    """Print the trials and what came of them for a person."""
    show_table(console, TRIAL_COLUMNS, [_trial_cells(one) for one in trials])
    console.print(f"{result.ratio:.2f} times as fast as the defaults; {where}")
    show_provenance(console, made)


def _trial_cells(trial: TuningTrial) -> tuple[str, ...]:
    return (
        trial.knob,
        str(trial.candidate),
        f"{trial.tokens_per_second:.0f}",
        f"{trial.ratio:.2f}",
        "" if trial.error is None else f"{trial.error:.4f}",
        "yes" if trial.chosen else "",
    )
