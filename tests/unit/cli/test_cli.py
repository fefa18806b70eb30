"""The command line: rank, bench, config and help, on the embedded model and fake servers."""

from __future__ import annotations

import itertools
import json
import math
import os
import pty
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from rerankd import cli, settings
from rerankd.cli.rank_input import InputDocument
from rerankd.cli.rank_output import ranked_lines
from rerankd.cli.rank_scoring import ScoredText
from rerankd.machine import resident_memory
from rerankd.measuring.bench.rounds import compare_servers
from rerankd.measuring.bench.workload import Measured, Workload, bodies
from rerankd.measuring.client import RerankServer

from support.fakes import LIMITS
from support.places import ROOT
from support.serving import FakeEngine, server_of, service_of

pytestmark = pytest.mark.slow

PANDAS = "hi\nit is a bear\n\nThe giant panda is a bear species endemic to China.\n"
LARGE = LIMITS.__class__(
    pair_tokens=512, step_tokens=512, step_rows=32, step_prefixes=8, cells=4096
)


def invoke(*arguments: str, stdin: str = "") -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli.main, arguments, input=stdin)


def rows(result: Result) -> list[dict[str, Any]]:
    """Return the JSON lines a command printed."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


# rank


def test_rank_orders_lines_of_standard_input() -> None:
    """Lines come back best first, with the number of the line they stood on."""
    found = rows(invoke("rank", "What is a panda?", stdin=PANDAS))

    assert [row["line"] for row in found] == [4, 2, 1]
    assert [row["rank"] for row in found] == [1, 2, 3]
    assert list(found[0]) == ["rank", "relevance_score", "text", "file", "line"]
    assert found[0]["relevance_score"] > 0.9


def test_rank_reads_files_and_jsonl(tmp_path: Path) -> None:
    """Plain and JSONL files mix; JSONL is known by its first line."""
    plain, jsonl = tmp_path / "a.txt", tmp_path / "b.jsonl"
    plain.write_text("the panda eats bamboo\n", "utf-8")
    jsonl.write_text('{"text": "hello", "id": 1}\n"good day"\n', "utf-8")

    found = rows(invoke("rank", "panda", str(plain), str(jsonl), "--top-n", "2"))

    assert ("the panda eats bamboo", str(plain)) == (found[0]["text"], found[0]["file"])
    assert len(found) == 2
    assert found[1]["text"] in {"hello", "good day"}


def test_rank_can_be_told_that_lines_are_lines() -> None:
    """A text that looks like JSON is a text with --format lines."""
    found = rows(invoke("rank", "x", "--format", "lines", stdin='{"text": "a"}\n'))

    assert [row["text"] for row in found] == ['{"text": "a"}']


def test_rank_names_the_bad_line(tmp_path: Path) -> None:
    """Broken JSONL ends with file and line, exit code 2, nothing on standard output."""
    file = tmp_path / "bad.jsonl"
    file.write_text('{"text": "a"}\n{"txt": "b"}\n', "utf-8")

    result = invoke("rank", "x", str(file))

    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{file}:2:" in result.stderr


def test_rank_gives_logits_on_request() -> None:
    """raw-scores prints what sigmoid makes the probability of."""
    (raw,) = rows(invoke("rank", "panda", "--raw-scores", stdin="the panda\n"))
    (plain,) = rows(invoke("rank", "panda", stdin="the panda\n"))

    assert math.isclose(plain["relevance_score"], 1 / (1 + math.exp(-raw["relevance_score"])))
    assert raw["relevance_score"] > 1


def test_rank_scores_many_documents_in_chunks() -> None:
    """More documents than a chunk are ranked as one list."""
    texts = [f"number {number}" for number in range(150)]
    texts[77] = "the giant panda is a bear"

    found = rows(invoke("rank", "panda", stdin="\n".join(texts)))

    assert len(found) == 150
    assert found[0]["line"] == 78


def test_rank_shows_a_table_to_a_person() -> None:
    """On a terminal the output is a table with rounded scores."""
    terminal, end = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "rerankd", "rank", "panda"],
        input=b"the panda\n",
        stdout=end,
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"},
        timeout=30,
        check=True,
    )
    os.close(end)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)

    header, row = (line for line in shown.splitlines() if "document" in line or "panda" in line)
    assert header.split() == ["#", "score", "document", "line"]
    place, score, *rest = row.split()
    assert (place, rest) == ("1", ["the", "panda", "<stdin>:1"])
    assert float(score) == pytest.approx(0.996, abs=0.01)  # kernels round each in their way


def test_ties_keep_the_input_order() -> None:
    """Equal logits are ranked by line."""
    lines = [InputDocument(text, "f", number) for number, text in enumerate("abc", start=1)]

    ranked = ranked_lines(lines, [ScoredText(one) for one in (0.0, 1.0, 0.0)], top_n=0)

    assert [row.document.text for row in ranked] == ["b", "a", "c"]


# config


def test_config_prints_toml_with_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output is TOML that can be read back, and says where each value came from."""
    file = tmp_path / "rerankd.toml"
    file.write_text("workers = 3\nport = 9000\n", "utf-8")
    monkeypatch.setenv("RERANKD_PORT", "9001")

    result = invoke("config", "--config", str(file), "--threads", "2")

    values = tomllib.loads(result.stdout)
    assert (values["workers"], values["port"], values["threads"]) == (3, 9001, 2)
    assert f"workers = 3  # {file}\n" in result.stdout
    assert "port = 9001  # RERANKD_PORT\n" in result.stdout
    assert "threads = 2  # --threads\n" in result.stdout
    assert 'host = "127.0.0.1"  # default\n' in result.stdout


def test_config_read_back_gives_the_same_settings(tmp_path: Path) -> None:
    """What config prints is a configuration file."""
    file = tmp_path / "again.toml"
    file.write_text(invoke("config", "--tensor-split", "3,1", "--mlock").stdout, "utf-8")

    again = settings.load_settings(config=file, environment={}).settings

    assert again == settings.Settings(tensor_split=(3.0, 1.0), mlock=True)


def test_config_hides_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are counted, never shown."""
    monkeypatch.setenv("RERANKD_API_KEYS", "very-secret")

    result = invoke("config")

    assert "very-secret" not in result.output
    assert "(1 set)" in result.stdout


def test_bad_settings_end_in_one_line() -> None:
    """A setting out of range names itself and its source."""
    result = invoke("config", "--gpu-layers", "many")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "gpu_layers = 'many' from --gpu-layers" in result.stderr


# bench


def test_workload_is_reproducible_and_never_repeats() -> None:
    """The same seed gives the same bytes; no document comes twice."""
    load = Workload(clients=1, documents=20, words=30, requests=5)

    first, again, other = (bodies(load, seed) for seed in (1, 1, 2))

    texts = [text for body in first for text in json.loads(body)["documents"]]
    assert first == again
    assert first != other
    assert len(set(texts)) == 100
    assert {30} == {len(text.split()) for text in texts}


@pytest.mark.parametrize(("share", "again"), [(0.5, 10), (1.0, 20), (0.0, 0)])
def test_a_workload_may_repeat_documents(share: float, again: int) -> None:
    """Each request has so many documents of the one before, for the same query."""
    load = Workload(clients=1, documents=20, words=9, requests=4, query_words=30, repeated=share)
    asked = [json.loads(body) for body in bodies(load, 1)]

    for one, other in itertools.pairwise(asked):
        assert len(set(one["documents"]) & set(other["documents"])) == again
        assert (one["query"] == other["query"]) is (share > 0)
    assert {30} == {len(one["query"].split()) for one in asked}


def test_bench_tells_what_the_server_knew_already() -> None:
    """Repeated documents come from the cache, and without a seed no run repeats another."""
    options = ("--documents", "4", "--requests", "3", "--rounds", "1")
    with server_of(service_of(FakeEngine(limits=LARGE))) as url:
        (first,) = rows(invoke("bench", "--url", url, *options, "--repeated", "0.5"))
        (second,) = rows(invoke("bench", "--url", url, *options, "--repeated", "0.5"))
        (plain,) = rows(invoke("bench", "--url", url, *options))

    assert (first["cached"], second["cached"], plain["cached"]) == (4, 4, 0)
    assert (first["repeated"], plain["repeated"]) == (0.5, 0.0)


def test_bench_measures_a_server() -> None:
    """One server gives one line a load, with its speed and latencies."""
    with server_of(service_of(FakeEngine(limits=LARGE))) as url:
        found = rows(
            invoke("bench", "--url", url, "--documents", "2,5", "--requests", "3", "--rounds", "2")
        )

    assert [line["documents"] for line in found] == [2, 5]
    for line in found:
        assert line["documents_per_second"] > 0
        assert 0 < line["p50_ms"] <= line["p95_ms"]
        assert (line["errors"], line["ratio"]) == (0, None)


def test_bench_draws_memory_over_a_run(tmp_path: Path) -> None:
    """The graph has a point for each of the samples, and one line says start and end."""
    graph = tmp_path / "memory.svg"
    with server_of(service_of(FakeEngine(limits=LARGE))) as url:
        done = invoke(
            *("bench", "--url", url, "--documents", "2", "--requests", "20", "--rounds", "1"),
            *("--pid", str(os.getpid()), "--memory-graph", str(graph)),
        )

    (points,) = re.findall(r'<polyline class="line" points="([^"]*)"/>', graph.read_text())
    assert len(points.split()) == 20
    assert "memory after a tenth of the requests" in done.stderr


def test_a_memory_graph_needs_a_process() -> None:
    """Without --pid there is nothing to look at."""
    result = invoke("bench", "--memory-graph", "memory.svg")

    assert result.exit_code == 2
    assert "--pid" in result.stderr


def test_bench_compares_two_servers_in_turn() -> None:
    """Two servers give a line each; the first has the median of the rounds' ratios."""
    with (
        server_of(service_of(FakeEngine(limits=LARGE))) as one,
        server_of(service_of(FakeEngine(limits=LARGE))) as two,
    ):
        load = Workload(clients=2, documents=3, words=10, requests=4)
        servers = [RerankServer(url=one, pid=os.getpid()), RerankServer(url=two)]
        lines = compare_servers(servers, load, rounds=3, seed=1)

    assert [one, two] == [line.url for line in lines]
    assert lines[0].ratio is not None
    assert lines[0].ratio_range is not None
    low, high = lines[0].ratio_range
    assert low <= lines[0].ratio <= high
    assert lines[0].memory_mb
    assert (lines[1].ratio, lines[1].memory_mb) == (None, None)


def test_bench_without_a_server_says_so() -> None:
    """A server that doesn't answer is an error with the reason, not a zero."""
    result = invoke("bench", "--url", "http://127.0.0.1:9", "--rounds", "1")

    assert result.exit_code == 1
    assert "failed every request" in result.stderr


def test_bench_counts_refusals_as_errors() -> None:
    """Requests that a server refuses don't count as speed, and bench fails."""
    engine = FakeEngine(limits=LARGE)
    with server_of(service_of(engine, max_documents=8)) as url:
        result = invoke("bench", "--url", url, "--documents", "9", "--rounds", "1")

    assert result.exit_code == 1
    assert "422" in result.stderr


@pytest.mark.parametrize("value", ["0", "a", "1,", "-2"])
def test_bench_refuses_odd_numbers(value: str) -> None:
    """Sizes are whole numbers over 0."""
    assert invoke("bench", "--clients", value).exit_code == 2


def test_percentiles_are_by_nearest_rank() -> None:
    """The median of 1..10 is 5 and the 95th percentile 10."""
    measured = Measured(
        documents=1,
        tokens=1,
        seconds=1.0,
        latencies=tuple(float(number) for number in range(10, 0, -1)),
        errors=(),
    )

    assert (measured.percentile(0.5), measured.percentile(0.95)) == (5.0, 10.0)


def test_memory_of_a_process_is_read() -> None:
    """Our own process has memory, one that isn't has none."""
    assert (resident_memory(os.getpid()) or 0) > 1_000_000
    assert resident_memory(2**22 + 1) is None


# help


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_every_command_has_help(command: str) -> None:
    """Help is there and exits with 0."""
    result = invoke(*([command] if command else []), "--help")

    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_serve_has_an_option_for_every_setting_but_secrets() -> None:
    """Flags, variables and help come from the one table."""
    text = invoke("serve", "--help").stdout

    for setting in settings.table():
        assert (setting.flag in text) is (setting.name not in settings.SECRET)
        assert (setting.variable in text) is (setting.name not in settings.SECRET)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["srve"], "serve"),
        (["rank", "--top", "x"], "--top-n"),
        (["keys", "lst"], "list"),
        (["service", "instal"], "install"),
    ],
)
def test_a_typo_is_answered_with_what_may_be_meant(typed: list[str], meant: str) -> None:
    """A command or an option that isn't there ends with exit code 2 and the nearest names."""
    result = invoke(*typed)

    assert result.exit_code == 2
    assert re.search(rf"[Dd]id you mean.*'{meant}'", result.stderr)


def test_ctrl_c_ends_with_130() -> None:
    """As a program that SIGINT ended, without a traceback."""

    @click.command("made")
    def made() -> None:
        raise KeyboardInterrupt

    group = cli.LazyGroup("rerankd")
    group.get_command = lambda *_: made  # type: ignore[method-assign]
    result = CliRunner().invoke(group, ["made"])

    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_version_is_the_package_s() -> None:
    """The version comes from the package."""
    assert "rerankd, version 0." in invoke("--version").stdout
