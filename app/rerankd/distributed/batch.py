"""Offline ranking of sets larger than memory: pairs in, scores out, on a pool of actors.

Imports Ray. Ray Data gives parts to actors, each with its own model, and gives a part to another
when an actor dies. A part's file appears complete, so a run that was killed resumes where it
stopped, and no row is lost or written twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import ray.data
from msgspec import Struct
from ray.exceptions import RayError

from rerankd.distributed import shards, tables
from rerankd.distributed.cluster import connect, room, share_of_cores
from rerankd.distributed.ray_errors import reason_in
from rerankd.distributed.scoring import score_pairs
from rerankd.distributed.shards import PairFile, RunManifest, Shard
from rerankd.domain import RankRequest
from rerankd.errors import ModelFailed, StateError
from rerankd.service import build, preflight, unlimited
from rerankd.settings import Settings

logger = logging.getLogger(__name__)

MOST_TASKS = 2000
"""Tasks that Ray Data manages; each may have several shards."""


class BatchOptions(Struct, frozen=True, kw_only=True):
    """What is read and written."""

    query: str = "query"
    """Column of the query."""
    document: str = "document"
    """Column of the document."""
    part_rows: int = 5000
    """Rows of a part, roughly; a part that was interrupted is done again from its start."""
    raw_scores: bool = False
    instruction: str | None = None
    keep_texts: bool = False
    """Write query and document beside the score; the other columns are always written."""


class RunSummary(Struct, frozen=True, kw_only=True):
    """The figures of a run."""

    parts: int
    """All parts."""
    done_before: int
    """Parts that an earlier run had done."""
    rows: int
    """Rows that this run wrote."""
    failed: int
    """Those of them that have an error instead of a score."""


OnShard = Callable[[int, int, int], None]
"""Called after each part with parts done, parts in all and rows written."""


def rank_pairs(
    inputs: Sequence[Path],
    output: Path,
    settings: Settings,
    options: BatchOptions = BatchOptions(),  # noqa: B008 - frozen
    on_shard: OnShard = lambda *_: None,
) -> RunSummary:
    """Score every (query, document) of Parquet and JSONL files into files in a folder.

    Every node must see both under these paths. Calling this again does what is still missing.
    Raises SettingsError, InvalidRequest, StateError when the folder holds another run, and
    ModelFailed with the reason when the model can't be served.
    """
    preflight(settings)
    connect(settings)
    sources = [_described(path, options) for path in shards.pair_files(inputs)]
    output = output.resolve()
    manifest = RunManifest(tuple(sources), _run_options(settings, options))
    shards.begin_run(output, manifest, shards.score_options(Settings()))
    every = sum(1 for _ in shards.shards_of(sources))
    left = shards.missing_shards(output, shards.shards_of(sources))
    rows = failed = 0
    for done, (more, bad) in enumerate(_scored(left, output, settings, options), start=1):
        rows, failed = rows + more, failed + bad
        on_shard(every - len(left) + done, every, rows)
    _finish(output, shards.missing_shards(output, shards.shards_of(sources)))
    return RunSummary(parts=every, done_before=every - len(left), rows=rows, failed=failed)


def _described(path: Path, options: BatchOptions) -> PairFile:
    rows = None
    if shards.form_of(path) == "parquet":
        rows = tables.rows_of(path)
        tables.require_columns(path, (options.query, options.document))
    return shards.describe_file(path, rows, options.part_rows)


def _run_options(settings: Settings, options: BatchOptions) -> dict[str, str]:
    own = {name: str(value) for name, value in msgspec.structs.asdict(options).items()}
    return shards.score_options(settings) | own


def _scored(left: Sequence[Shard], output: Path, settings: Settings, options: BatchOptions) -> Any:
    """Yield the rows and the failed rows of each part as it is done."""
    if not left:
        return
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it logs it raises as well
    there = room()
    own = msgspec.structs.replace(unlimited(settings), cores=share_of_cores(settings, there))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    items = [{"part": msgspec.json.encode(part)} for part in left]
    pairs = ray.data.from_items(items, override_num_blocks=min(len(left), MOST_TASKS))
    done = pairs.map_batches(
        Scorer,
        fn_constructor_args=(own, options, str(output)),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            min_size=1, initial_size=min(there.fitting(own.cores), len(left)), max_size=len(left)
        ),
        num_cpus=own.cores,
        num_gpus=settings.replica_gpus,
    )
    try:
        for row in done.iter_rows():
            yield int(row["rows"]), int(row["failed"])
    except RayError as error:
        raise ModelFailed(reason_in(str(error))) from error


def _finish(output: Path, missing: Sequence[Shard]) -> None:
    if missing:
        raise StateError(
            f"{len(missing)} parts are not in {output}: can every node see that folder?"
        )
    for half in output.glob(".*.half"):
        half.unlink(missing_ok=True)


class Scorer:
    """An actor of the pool: a model and its event loop."""

    def __init__(self, settings: Settings, options: BatchOptions, output: str) -> None:
        """Load the model. Raises ModelFailed."""
        self._options = options
        self._output = Path(output)
        self._runner = asyncio.Runner()
        self._service = build(settings)
        self._runner.run(self._service.start())

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        """Do the parts of a batch; one whose file is there was done by an actor that died."""
        rows, failed = [], []
        for encoded in batch["part"]:
            part = msgspec.json.decode(bytes(encoded), type=Shard)
            file = self._output / part.name
            if not file.exists():
                self._write(part, file)
            more, bad = tables.tally(file, part.form)
            rows.append(more)
            failed.append(bad)
        return {"rows": rows, "failed": failed}

    def _write(self, part: Shard, file: Path) -> None:
        texts = () if self._options.keep_texts else (self._options.query, self._options.document)
        reading: Any = tables.read_parquet if part.form == "parquet" else tables.read_jsonl
        writing: Any = tables.ParquetWriter if part.form == "parquet" else tables.JsonWriter
        writer = writing(file, part.source, texts)
        for rows in reading(part):
            writer.write(rows, self._score(rows))
        writer.close()

    def _score(self, rows: tables.Batch) -> Any:
        asking = RankRequest(
            query="",
            documents=(),
            raw_scores=self._options.raw_scores,
            instruction=self._options.instruction,
        )
        texts = zip(
            rows.column(self._options.query), rows.column(self._options.document), strict=True
        )
        return self._runner.run(score_pairs(self._service, asking, list(texts)))
