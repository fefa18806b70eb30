"""`rerankd eval` on the embedded model and on running servers."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pty
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rerankd import __version__, cli
from rerankd.sources.catalog import file_digest

from support.fakes import LIMITS
from support.places import ROOT
from support.serving import FakeEngine, server_of, service_of

pytestmark = pytest.mark.slow

LARGE = LIMITS.__class__(
    pair_tokens=512, step_tokens=512, step_rows=32, step_prefixes=8, cells=4096
)
MINI = ROOT / "models" / "rerank-mini-en-q8_0.gguf"
NOWHERE = "http://127.0.0.1:9"

JUDGED = [
    {
        "id": "pandas",
        "query": "What is a panda?",
        "documents": [
            {"text": "hello", "relevance": 0},
            {"text": "The giant panda is a bear species endemic to China.", "relevance": 2},
        ],
    },
    {
        "id": "paris",
        "query": "capital of France",
        "documents": [
            {"text": "Bananas are yellow", "relevance": 0},
            {"text": "Rivers flow to the sea", "relevance": 0},
            {"text": "Paris is the capital of France", "relevance": 1},
        ],
    },
    {"id": "barren", "query": "unicorns", "documents": [{"text": "grass", "relevance": 0}]},
]


def invoke(*arguments: str | Path) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli.main, ["eval", *map(str, arguments)])


def answer(result: Result) -> dict[str, Any]:
    """Return the JSON that a command printed."""
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def means(standing: dict[str, Any]) -> list[float]:
    return [round(quality["mean"], 4) for quality in standing["quality"]]


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """Two queries with an answer and one without, as JSONL."""
    path = tmp_path / "judged.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in JUDGED), "utf-8")
    return path


def test_eval_compares_the_embedded_model_with_the_first_stage(judged: Path) -> None:
    """The model puts both answers first, from second and third place: known values by hand."""
    found = answer(invoke(judged, "--recall-at", "1"))

    (model,) = found["contenders"]
    assert means(found["first_stage"]) == [0.5655, 0.4167, 0.0]
    assert (model["name"], means(model)) == ("rerank-mini-en", [1.0, 1.0, 1.0])
    assert [round(quality["difference"], 4) for quality in model["quality"]] == [
        0.4345,
        0.5833,
        1.0,
    ]
    assert model["quality"][0]["interval"]["low"] > 0.36
    assert model["cost"]["memory_mb"] > 20
    assert model["cost"]["documents_per_second"] > 0


def test_eval_reports_what_it_left_out(judged: Path) -> None:
    """Queries without a relevant document stand in the data and on stderr."""
    result = invoke(judged)

    assert answer(result)["without_relevant"] == {"queries": 1, "ids": ["barren"]}
    assert "note: 1 query (barren) without a relevant document" in result.stderr
    assert "note: 2 queries are few" in result.stderr


def test_eval_runs_each_model_in_turn(judged: Path, tiny_bert: Path) -> None:
    """A catalog id and a path are compared; the worse one has its gap to the better one."""
    found = answer(invoke(judged, "--accept-unproven", "--models", f"rerank-mini-en, {tiny_bert}"))

    good, tiny = found["contenders"]
    assert [good["name"], tiny["name"]] == ["rerank-mini-en", tiny_bert.name]
    assert good["gap"] is None
    assert tiny["gap"]["best"] == "rerank-mini-en"
    assert tiny["gap"]["difference"] <= 0


def test_a_quantisation_s_loss_says_what_was_measured(judged: Path) -> None:
    """Both models' files, with date, machine and versions, as a comparison has."""
    model = str(MINI)
    found = answer(invoke(judged, "--quant-loss", model, "--against", model))
    (one,) = found["made"]["files"]
    assert (one["name"], one["sha256"]) == (MINI.name, file_digest(MINI))
    assert (found["difference"], found["made"]["versions"]["rerankd"]) == (0.0, __version__)


def test_eval_prints_csv(judged: Path) -> None:
    """A line a model under one header, empty where there is no figure."""
    result = invoke(judged, "--csv")

    first, model = csv.DictReader(io.StringIO(result.stdout))
    assert (first["model"], model["model"]) == ("first stage", "rerank-mini-en")
    assert (first["documents_per_second"], first["nDCG@10 difference"]) == ("", "")
    assert float(model["nDCG@10 low"]) <= float(model["nDCG@10 difference"])
    assert float(model["p95_ms"]) > 0
    for row in (first, model):
        assert f"rerankd {__version__}" in row["versions"]
        assert hashlib.sha256(judged.read_bytes()).hexdigest() in row["files"]
        assert int(row["cores"]) >= 1
        assert datetime.fromisoformat(row["date"]).tzinfo


def test_eval_shows_a_table_to_a_person(judged: Path) -> None:
    """A terminal of 80 columns gets rounded means with their differences below."""
    terminal, end = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "rerankd", "eval", str(judged)],
        stdout=end,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1", "TERM": "dumb"},
        timeout=30,
        check=True,
    )
    os.close(end)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)

    rows = [line.split() for line in shown.splitlines()]
    assert ["first", "stage", "0.5655", "0.4167", "1.0000"] in rows
    assert ["rerank-mini-en", "1.0000", "1.0000", "1.0000"] in [row[:4] for row in rows]
    assert ["+0.435", "+0.583", "+0.000"] in rows
    assert max(map(len, shown.splitlines())) <= 80


def test_eval_writes_a_report_without_the_data(judged: Path, tmp_path: Path) -> None:
    """The page has plots and ids; no text of a query or a document leaves the data."""
    result = invoke(judged, "--html", tmp_path / "report.html")

    page = (tmp_path / "report.html").read_text("utf-8")
    everything = page + result.output
    assert page.count("<svg") == 2
    assert hashlib.sha256(judged.read_bytes()).hexdigest() in page
    assert f"rerankd {__version__}" in page
    assert str(judged.parent) not in page
    assert "paris (+0.500)" in page
    for line in JUDGED:
        assert str(line["query"]) not in everything
    assert "Bananas" not in everything


def test_eval_reads_the_files_of_trec(tmp_path: Path) -> None:
    """Topics, documents, qrels and a run give what JSONL gives."""
    texts = {
        "queries": "1\tWhat is a panda?\n2\tunjudged\n",
        "documents": "a\thello\nb\tThe giant panda is a bear species endemic to China.\n",
        "qrels": "1 0 b 1\n",
        "run": "1 Q0 a 1 9.5 bm25\n1 Q0 b 2 3.25 bm25\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, "utf-8")

    flags = [part for name in texts for part in (f"--{name}", tmp_path / name)]
    found = answer(invoke(*flags))

    assert means(found["first_stage"]) == [0.6309, 0.5, 1.0]
    assert means(found["contenders"][0]) == [1.0, 1.0, 1.0]
    assert found["without_relevant"]["ids"] == ["2"]
    assert found["contenders"][0]["quality"][0]["interval"] is None


def test_eval_asks_running_servers(judged: Path) -> None:
    """Each server is a contender; with its process, its memory is known."""
    with (
        server_of(service_of(FakeEngine(limits=LARGE))) as one,
        server_of(service_of(FakeEngine(limits=LARGE), api_keys=("secret",))) as two,
    ):
        pids = ("--pid", str(os.getpid()), "--pid", str(os.getpid()))
        found = answer(invoke(judged, "--url", one, "--url", two, *pids, "--api-key", "secret"))

    assert [one, two] == [standing["name"] for standing in found["contenders"]]
    for standing in found["contenders"]:
        # The stand-in engine ranks by length, which is right here.
        assert means(standing)[0] == 1.0
        assert standing["cost"]["memory_mb"] > 20


def test_eval_reports_a_server_that_fails(judged: Path) -> None:
    """One that can't be reached is named with the reason; the others have their figures."""
    with server_of(service_of(FakeEngine(limits=LARGE))) as url:
        result = invoke(judged, "--url", NOWHERE, "--url", url)

    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert found["failed"] == [{"name": NOWHERE, "message": "no response: ConnectError"}]
    assert [one["name"] for one in found["contenders"]] == [url]
    assert f"note: {NOWHERE} failed: no response" in result.stderr


def test_eval_sends_the_models_to_the_servers(judged: Path) -> None:
    """With --url, --models are asked of each server: one that it doesn't have is refused."""
    with server_of(service_of(FakeEngine(limits=LARGE))) as url:
        result = invoke(judged, "--url", url, "--models", "rerank-mini-en,other")

    found = json.loads(result.stdout)
    assert [one["name"] for one in found["contenders"]] == [f"rerank-mini-en at {url}"]
    assert found["failed"] == [
        {"name": f"other at {url}", "message": "returned status 404"},
    ]


def test_eval_names_the_bad_line(tmp_path: Path) -> None:
    """Bad data ends in one line before any model is loaded, with exit code 2."""
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(JUDGED[0]) + '\n{"query": "x"}\n', "utf-8")

    result = invoke(path)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {path}:2: Object missing required field `documents`\n"


def test_eval_without_its_extra_says_what_to_install(
    judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names the command."""
    monkeypatch.setitem(sys.modules, "pytrec_eval", None)

    result = invoke(judged)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith("pip install pytrec-eval-terrier\n")
    assert len(result.stderr.splitlines()) == 1


def test_eval_checks_models_before_it_starts(judged: Path, tmp_path: Path) -> None:
    """A model that isn't there is refused at once, though another one is."""
    result = invoke(judged, "--models", f"rerank-mini-en,{tmp_path / 'gone.gguf'}")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "gone.gguf" in result.stderr
    assert "ranking" not in result.stderr


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ((), "give DATA, or"),
        (("DATA", "--queries", "DATA"), "must be used together"),
        (("DATA", "--queries", "DATA", "--documents", "DATA", "--qrels", "DATA"), "give either"),
        (("DATA", "--json", "--csv"), "use either"),
        (("DATA", "--models", "a,,b"), "not a list of models"),
        (("DATA", "--models", "rerank-mini-en,rerank-mini-en"), "given 2 times"),
        (("DATA", "--url", "ftp://host"), "not an http"),
        (("DATA", "--url", "http://user:word@host"), "use --api-key"),
        (("DATA", "--url", "http://user:word@[::1"), "not an http"),
        (("DATA", "--url", NOWHERE, "--pid", "1", "--pid", "2"), "one --pid for each --url"),
        (("DATA", "--url", NOWHERE, "--calibrate", "keep"), "needs models on this machine"),
        (("DATA", "--depth", "0"), "--depth"),
        (("DATA", "--html", "no/such/folder/x.html"), "no folder"),
        (("no-such-file",), "does not exist"),
    ],
)
def test_eval_refuses_odd_usage(judged: Path, flags: tuple[str, ...], reason: str) -> None:
    """What can't be meant is told before anything is read, and no password is repeated."""
    result = invoke(*(str(judged) if flag == "DATA" else flag for flag in flags))

    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr
    assert "user:word" not in result.stderr
