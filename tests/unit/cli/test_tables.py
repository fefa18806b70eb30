"""Tables at 80, 60 and 40 columns: within the width, names whole, and what is left out named."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from rerankd.cli.bench import show_bench
from rerankd.cli.config import SETTING_COLUMNS
from rerankd.cli.devices import show_devices
from rerankd.cli.eval_display import show_comparison
from rerankd.cli.keys import show_keys
from rerankd.cli.rank_input import InputDocument
from rerankd.cli.rank_output import RankedLine, show_ranking
from rerankd.cli.rank_scoring import ScoredText
from rerankd.cli.remote import show_statuses
from rerankd.cli.tables import TableColumn, show_facts, show_table
from rerankd.cli.tune import show_tuning
from rerankd.deployments import Status
from rerankd.deployments.applied_tuning import AppliedTuning
from rerankd.engine.planning.devices import Device, Survey
from rerankd.measuring.bench.rounds import BenchLine
from rerankd.measuring.evaluation.bootstrap import Interval
from rerankd.measuring.evaluation.comparison import Comparison, Cost, QualityFigures, Standing
from rerankd.measuring.evaluation.survey import Listed
from rerankd.measuring.provenance import MeasuredFile, Provenance
from rerankd.measuring.tuning.candidates import TuningCandidate, TuningTrial
from rerankd.scheduling.tickets import Load
from rerankd.settings import table
from rerankd.store import Key

WIDTHS = (80, 60, 40)
DEPLOYMENT = "jina-reranker-v2-base-multilingual"
KEY_ID = "key_0123456789abcdef"
ADDRESS = "http://reranker.example.org:8100"

Shown = Callable[[Console], None]

STATUS = Status(
    id=DEPLOYMENT,
    source=f"hf:gpustack/{DEPLOYMENT}-GGUF:Q8_0",
    model=DEPLOYMENT,
    state="failed",
    message="the server was killed while it loaded this model; restart tries it again",
    default=True,
    pinned=False,
    created=1.0,
    changed=1.0,
    used=1.0,
    progress=None,
    memory_bytes=1_234_567_890,
    load=Load(3, 400, 5.0),
    facts=None,
)
KEY = Key(
    id=KEY_ID,
    name="the wiki of the research department",
    prefix="rk_abcdef",
    digest=b"",
    created=1,
    scopes=("inference", "manage"),
    models=("bge-reranker-v2-m3", "rerank-mini-en"),
    requests_per_minute=60,
    tokens_per_minute=100_000,
)
LINE = BenchLine(
    clients=8,
    documents=100,
    words=80,
    query_words=9,
    repeated=0.0,
    url=ADDRESS,
    documents_per_second=1234.5,
    tokens_per_second=123456.0,
    p50_ms=12.0,
    p95_ms=34.0,
    errors=0,
    cached=0,
    memory_mb=321.0,
    ratio=1.02,
    ratio_range=(0.98, 1.05),
    made=None,
)
TUNED = AppliedTuning(
    model="x",
    workers=1,
    threads=1,
    step_tokens=1,
    flash_attn="on",
    weights="file",
    ratio=1.5,
    measured=1.0,
)
DEVICE = Device(
    name="Vulkan0",
    description="NVIDIA GeForce RTX 4090 Laptop",
    type="GPU",
    backend="Vulkan",
    total_bytes=2**34,
    free_bytes=2**33,
)
MADE = Provenance(
    date="2026-11-28T12:00:00+00:00",
    processor="Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
    cores=16,
    memory_bytes=2**36,
    system="Linux 6.1.0 x86_64",
    versions={"rerankd": "1.2.3", "llama-cpp-python": "0.3.16"},
    files=(MeasuredFile(name="m.gguf", sha256="0" * 64),),
)
TRIAL = TuningTrial(
    knob="step_tokens",
    candidate=TuningCandidate(
        workers=8, threads=1, step_tokens=4096, flash_attn="on", weights="f32"
    ),
    tokens_per_second=12345.0,
    ratio=1.1,
    error=0.0012,
    chosen=True,
)
DOCUMENT = InputDocument("the giant panda " * 20, "notes/of/last/year/animals.txt", 1234)
ROW = RankedLine(1, DOCUMENT, ScoredText(0.9876))


def show_trials(console: Console) -> None:
    show_tuning([TRIAL], TUNED, "kept", MADE, console)


def show_survey(console: Console) -> None:
    show_devices(Survey(devices=(DEVICE,), backends=("CPU",), features="AVX2"), console)


def show_settings(console: Console) -> None:
    rows = [(one.name, str(one.default), "RERANKD_SOMETHING_LONG") for one in table()]
    show_table(console, SETTING_COLUMNS, rows)


def figures(mean: float, change: float | None) -> tuple[QualityFigures, ...]:
    bounds = None if change is None else Interval(change - 0.01, change + 0.01)
    return tuple(
        QualityFigures(
            measure=name, mean=mean, difference=change, interval=bounds, by_query=(mean, mean)
        )
        for name in ("nDCG@10", "MRR@10", "recall@10")
    )


def show_evaluation(console: Console) -> None:
    none = Listed(0, ())
    cost = Cost(documents_per_second=123.4, p95_ms=1234.5, memory_mb=1500.0, truncated=0)
    model = Standing(name="jina-reranker-v2-base", quality=figures(0.9, 0.4), cost=cost)
    found = Comparison(
        queries=("a", "b"),
        documents=20,
        depth=10,
        without_relevant=none,
        without_candidates=none,
        cut=none,
        seed=1,
        resamples=1,
        first_stage=Standing(name="first stage", quality=figures(0.5, None)),
        contenders=(model,),
        failed=(),
        made=MADE,
    )
    show_comparison(found, console)


TABLES: dict[str, tuple[Shown, tuple[str, ...]]] = {
    "ps": (lambda console: show_statuses([STATUS], console), (DEPLOYMENT, "failed")),
    "keys": (lambda console: show_keys([KEY], console), (KEY_ID,)),
    "bench": (lambda console: show_bench([LINE], console), ("8×100×80", "1234.5")),
    "tune": (show_trials, ("step_tokens", "yes")),
    "devices": (show_survey, ("Vulkan0",)),
    "config": (show_settings, ("max_connections_per_address",)),
    "eval": (show_evaluation, ("0.9000",)),
    "rank": (lambda console: show_ranking([ROW], console), ("0.9876", "panda")),
}


def drawn(show: Shown, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    show(console)
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", TABLES)
def test_tables_keep_to_the_width_and_their_ids_are_whole(name: str, width: int) -> None:
    """Each on one line: an id is what the next command needs."""
    show, whole = TABLES[name]
    lines = drawn(show, width)
    assert max(map(len, lines)) <= width
    for word in whole:
        if len(word) < width - 10:
            assert any(word in line.split() for line in lines), (word, lines)


COLUMNS = (
    TableColumn("id"),
    TableColumn("message", rank=1, wraps=10),
    TableColumn("size", rank=2, right=True),
    TableColumn("state", rank=3),
)


def test_columns_give_way_by_their_rank_and_are_named() -> None:
    """The lowest rank stays longest, and a table that is whole has no such line."""
    rows = [("a" * 10, "some words of a message", "12 MB", "running")]
    assert "not shown" not in "".join(drawn(lambda it: show_table(it, COLUMNS, rows), 60))
    narrow = drawn(lambda it: show_table(it, COLUMNS, rows), 30)
    assert narrow[0].split() == ["id", "message", "size"]
    assert "not shown: state;" in " ".join(narrow)
    narrowest = drawn(lambda it: show_table(it, COLUMNS, rows), 14)
    assert narrowest[0].split() == ["id"]
    assert "not shown: message, size, state;" in " ".join(line.strip() for line in narrowest)


def test_what_is_wider_than_the_terminal_is_folded_not_cut() -> None:
    """Every character of an id is there, however narrow it is."""
    lines = drawn(lambda it: show_table(it, COLUMNS[:1], [("abcdefghijklmnopqrstuvwxyz",)]), 10)
    assert "".join(lines[2:]) == "abcdefghijklmnopqrstuvwxyz    "


def test_empty_columns_are_left_out() -> None:
    """Without a word: there is nothing to see in them."""
    lines = drawn(lambda it: show_table(it, COLUMNS, [("one", "", "1 MB", "")]), 80)
    assert lines[0].split() == ["id", "size"]
    assert "not shown" not in "".join(lines)


def test_wide_characters_count_for_two() -> None:
    """So that columns stay in place in every script."""
    lines = drawn(lambda it: show_table(it, COLUMNS, [("熊貓", "", "1 MB", "x")]), 80)
    assert lines[2].index("1 MB") == lines[0].index("size") - 2


@pytest.mark.parametrize("width", WIDTHS)
def test_facts_fold_beside_their_names(width: int) -> None:
    """Nothing of a long value is lost."""
    path = "/models/" + "x" * 90 + ".gguf"
    lines = drawn(lambda it: show_facts(it, [("file", path), ("kind", "encoder")]), width)
    assert max(map(len, lines)) <= width
    assert "".join(line[6:].strip() for line in lines[:-1]) == path
