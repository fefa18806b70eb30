"""`just test-gpu` without a GPU: how stages are run, what is reported, and what a report sets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu import __main__ as program
from gpu import building, machine, report, scoring, steps, work
from gpu.stages import Outcome, Stage, run_stage, run_stages

SMI = "NVIDIA H100 80GB HBM3, 9.0, 580.1, 81559, 1, 1980\n"


def python(code: str, name: str = "one", seconds: float = 60) -> Stage:
    """Return a stage that runs Python code."""
    return Stage(name, seconds, (sys.executable, "-c", code))


def test_a_stage_s_rows_are_kept_though_it_fails(tmp_path: Path) -> None:
    """What isn't a JSON object is no row; the error is the last line it wrote."""
    code = "import sys; print('{\"a\": 1}\\nx\\n[1]\\n{\"b\"', flush=True); sys.exit('too bad')"

    found = run_stage(python(code), tmp_path, 60)

    assert (found.ok, found.rows) == (False, [{"a": 1}])
    assert found.error == "ended with 1: too bad"


def test_a_stage_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    """A server that it started holds the pipe that this waits for: it must be gone as well."""
    code = (
        "import subprocess, sys; print('{\"a\": 1}', flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'import signal; signal.pause()'])"
    )

    found = run_stage(python(code), tmp_path, 0.5)

    assert not found.ok
    assert found.error == "took longer than 0 s"


def test_a_stage_gets_its_variables(tmp_path: Path) -> None:
    code = 'import json, os; print(json.dumps({"said": os.environ["GPU_SMALL"]}))'
    stage = Stage("one", 60, (sys.executable, "-c", code), {"GPU_SMALL": "yes"})

    assert run_stage(stage, tmp_path, 60).rows == [{"said": "yes"}]


def test_the_next_stage_runs_whatever_came_before(tmp_path: Path) -> None:
    """And what is known is saved after each."""
    saved: list[list[str]] = []
    stages = [python("import os; os.abort()", "bad"), python("print('{}')", "good")]

    found = run_stages(stages, tmp_path, 100, lambda outcomes: saved.append(list(outcomes)))

    assert [one.ok for one in found.values()] == [False, True]
    assert saved == [["bad"], ["bad", "good"]]


def test_no_stage_begins_when_the_time_is_up(tmp_path: Path) -> None:
    def clock() -> Iterator[float]:
        yield from (0.0, 0.0, 97.0, 97.0)

    times = clock()
    stages = [python("print('{}')", "first"), python("print('{}')", "late")]

    found = run_stages(stages, tmp_path, 100, lambda _: None, lambda: next(times))

    assert found["first"].ok
    assert found["late"] == Outcome(ok=False, seconds=0, rows=[], error="no time was left")


def test_nvidia_smi_is_read() -> None:
    """A GPU without a compute capability, as old drivers have, is passed over."""
    (gpu,) = machine.parsed(SMI + "Some card, [N/A], 1, 2, 3, 4\nFailed to initialize\n")

    assert (gpu["name"], gpu["architecture"]) == ("NVIDIA H100 80GB HBM3", "90")


def test_a_missing_program_says_nothing() -> None:
    assert machine.said("no-such-program-here") == ""
    assert machine.survey()["processors"] > 0


@pytest.mark.parametrize("gpus", [machine.parsed(SMI), []], ids=["GPU", "no GPU"])
def test_the_build_comes_first_where_sources_are_given(gpus: list[dict[str, str]]) -> None:
    """For the GPU's architecture, and llama-server is that build's."""
    given = program.parser().parse_args(["--sources", "pack/engine", "--build", "there"])
    stages = program.plan(given, {"gpus": gpus}, small=not gpus)

    assert stages[0].command[-3:] == ["pack/engine", "there", "90" if gpus else "cpu"]
    assert stages[1].variables["GPU_LLAMA_SERVER"].endswith("there/bin/llama-server")
    assert stages[1].variables["GPU_SMALL"] == ("" if gpus else "1")
    assert [one.name for one in stages][:5] == ["build", "models", "devices", "scores", "offload"]
    assert stages[0].seconds < 570


def test_every_stage_has_its_work() -> None:
    given = program.parser().parse_args([])
    assert {one.name for one in program.plan(given, {"gpus": []}, small=True)} == set(work.tasks())


def test_some_stages_alone() -> None:
    given = program.parser().parse_args(["--only", "scores"])
    assert [one.name for one in program.plan(given, {"gpus": []}, small=True)] == ["scores"]


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    found = {"gpus": machine.parsed(SMI), "processors": 16, "processor": "one", "small": False}
    rows = [{"step": 512, "said": "a|b\nc"}, {"step": 1024, "ok": True}]
    outcomes = {"sweep": Outcome(ok=True, seconds=1.5, rows=rows)}

    report.write(tmp_path, found, outcomes)

    read = json.loads((tmp_path / "gpu.json").read_text())
    assert read["stages"]["sweep"]["rows"] == rows
    text = (tmp_path / "gpu.md").read_text()
    assert "| step | said | ok |" in text
    assert "| 512 | a\\|b c |  |" in text
    assert "| sweep | ok | 1.5 |" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu.json", "gpu.md"]


def test_the_slowest_files_are_told(tmp_path: Path) -> None:
    """Of ninja's log, whose times are in milliseconds; a file built again counts once."""
    log = tmp_path / ".ninja_log"
    log.write_text(
        "# ninja log v5\n0\t2000\t1\ta/one.cu.o\tx\n0\t900\t1\tb.o\tx\n10\t5010\t1\ta/one.cu.o\ty\n"
    )
    assert building.slowest(log) == [(5.0, "one.cu.o"), (0.9, "b.o")]
    assert building.slowest(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("other", "ok", "same"),
    [
        ([3.0, 1.0, 2.0], True, True),
        ([3.0, 1.0, 2.2], False, True),
        ([1.9, 1.0, 2.0], False, False),
    ],
)
def test_scores_are_close_within_a_share_of_their_range(
    other: list[float], ok: bool, same: bool
) -> None:
    found = scoring.difference([3.0, 1.0, 2.0], other)
    assert (found["ok"], found["same_order"]) == (ok, same)


def test_equal_scores_for_all_texts_prove_nothing() -> None:
    assert not scoring.difference([1.0, 1.0], [1.0, 1.0])["ok"]


def sweep(**speeds: dict[int, float]) -> dict[str, Any]:
    """Return a report with documents a second by step, for two lengths of documents each."""
    stages = {
        f"sweep-{kind}": {
            "rows": [
                {"step": step, "words": words, "documents_s": speed / words}
                for step, speed in found.items()
                for words in (80, 400)
            ]
        }
        for kind, found in speeds.items()
    }
    return {"machine": {"gpus": machine.parsed(SMI), "small": False}, "stages": stages}


REPORT = sweep(
    bert={512: 50.0, 2048: 100.0, 4096: 101.0},
    xlmr={512: 6.0, 2048: 9.9, 4096: 10.0},
    qwen3={512: 5.0, 2048: 6.0, 8192: 9.0},
)


def test_a_report_sets_the_steps() -> None:
    """The shortest step that is nearly the fastest; the text stays Python, and says which GPU."""
    text = steps.rewritten(steps.FILE.read_text(), REPORT)

    names: dict[str, Any] = {}
    exec(compile(text, "gpu_steps.py", "exec"), names)  # noqa: S102 - our own module
    assert names["MEASURED_ON"] == "NVIDIA H100 80GB HBM3"
    assert (names["ENCODER_GPU_STEP"], names["CAUSAL_GPU_STEP"]) == (2048, 8192)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({**REPORT, "machine": {"gpus": []}}, "not of a GPU"),
        ({**REPORT, "machine": {**REPORT["machine"], "small": True}}, "not of a GPU"),
        ({**REPORT, "stages": {}}, "no sweep"),
        (sweep(bert={512: 1.0}, xlmr={1024: 1.0}, qwen3={512: 1.0}), "no step was measured"),
    ],
)
def test_a_report_that_says_nothing_sets_nothing(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        steps.rewritten(steps.FILE.read_text(), wrong)


def test_a_module_without_the_names_is_not_rewritten() -> None:
    with pytest.raises(ValueError, match="no MEASURED_ON"):
        steps.rewritten("", REPORT)
