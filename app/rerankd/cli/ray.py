"""`rerankd ray`: a server on a Ray cluster, its replicas on many machines."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import click

from rerankd import distributed
from rerankd.auth.keys import key_store_of
from rerankd.cli import options
from rerankd.cli.help import HelpGroup
from rerankd.cli.output import print_json, print_note
from rerankd.http.guard import require_safe_binding
from rerankd.service import preflight
from rerankd.settings import Settings, allows_colours, state_folder
from rerankd.store import Store
from rerankd.telemetry import log_format

ADDRESS = frozenset({"ray_address"})


@click.group(
    "ray",
    cls=HelpGroup,
    examples=("rerankd ray serve --max-replicas 4", "rerankd ray status"),
)
def ray_command() -> None:
    """Serve from a Ray cluster. Needs the extra `ray`: pip install 'rerankd[ray]'."""


@ray_command.command("serve", examples=("rerankd ray serve --min-replicas 2 --max-replicas 8",))
@options.with_settings()
def serve_on_ray_command(config_file: Path | None, **flags: Any) -> None:
    """Start replicas on the cluster, or update those running, and return once they serve.

    Old replicas serve until the new ones are ready. Every node listens on --host and --port.
    """
    settings = options.load(config_file, flags).settings
    cluster = _cluster(settings)
    key_store = key_store_of(settings, Store(state_folder(settings)))
    key_store.load()
    require_safe_binding(settings, keyed=key_store.requires_key)
    preflight(settings)
    cluster.connect(settings)
    own = [key for key in key_store.keys if key.prefix]  # those of the settings travel in them
    there = _module("rerankd.distributed.serving", settings).deploy(settings, own)
    print_note(f"serving on port {settings.port} of {len(there.nodes)} nodes")


@ray_command.command("status", examples=("rerankd ray status",))
@options.with_settings(ADDRESS)
def ray_status_command(config_file: Path | None, **flags: Any) -> None:
    """Print the cluster's state as JSON lines; exit with 1 unless everything is healthy."""
    settings = options.load(config_file, flags).settings
    cluster = _cluster(settings)
    cluster.connect(settings)
    found = cluster.status()
    print_json(*found)
    if not found or any(one.state != "RUNNING" for one in found):
        sys.exit(1)


@ray_command.command("stop", examples=("rerankd ray stop",))
@options.with_settings(ADDRESS)
def stop_on_ray_command(config_file: Path | None, **flags: Any) -> None:
    """Remove the replicas from the cluster after running requests finish."""
    settings = options.load(config_file, flags).settings
    cluster = _cluster(settings)
    cluster.connect(settings)
    cluster.stop()


@ray_command.command("rank", examples=("rerankd ray rank pairs.parquet --output scores",))
@click.argument("inputs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="folder for the scores; repeat the command to resume a run that stopped",
)
@click.option("--query-column", default="query", show_default=True, help="column of the query")
@click.option(
    "--document-column", default="document", show_default=True, help="column of the document"
)
@click.option("--raw-scores", is_flag=True, help="write logits instead of scores from 0 to 1")
@click.option("--instruction", help="what counts as relevant, for models that take one")
@click.option("--keep-texts", is_flag=True, help="also write the query and document")
@click.option(
    "--part-rows",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="approximate rows per output file, which a killed run may have to repeat",
)
@options.with_settings(options.MODEL_OPTIONS | ADDRESS | {"replica_gpus"})
@click.option("--log-level", default="warning", help="debug, info, warning or error")
def rank_pairs_command(  # noqa: PLR0913 - one parameter an option
    inputs: tuple[Path, ...],
    output: Path,
    query_column: str,
    document_column: str,
    raw_scores: bool,
    instruction: str | None,
    keep_texts: bool,
    part_rows: int,
    config_file: Path | None,
    **flags: Any,
) -> None:
    """Score the (query, document) pairs in INPUTS: Parquet and JSONL files, or folders of them.

    Each node must see INPUTS and --output under the same paths. Rows keep their other columns,
    plus source, position, score and error. Exits with 1 if any row has no score.
    """
    settings = options.load(config_file, flags).settings
    batch = _module("rerankd.distributed.batch", settings)
    wanted = batch.BatchOptions(
        query=query_column,
        document=document_column,
        part_rows=part_rows,
        raw_scores=raw_scores,
        instruction=instruction,
        keep_texts=keep_texts,
    )
    begun = time.monotonic()

    def on_shard(done: int, every: int, rows: int) -> None:
        speed = rows / (time.monotonic() - begun)
        print_note(f"{done} of {every} parts, {speed:.1f} rows/s")

    found = batch.rank_pairs(inputs, output, settings, wanted, on_shard)
    print_json(found)
    if found.failed:
        sys.exit(1)


def _cluster(settings: Settings) -> Any:
    return _module("rerankd.distributed.cluster", settings)


def _module(name: str, settings: Settings) -> Any:
    """Return a module that knows Ray. Raises SettingsError where the extra is missing."""
    distributed.require()
    log_format.configure_server_logging(
        settings.log_level, settings.log_format, colours=allows_colours()
    )
    return importlib.import_module(name)
