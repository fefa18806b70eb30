"""Finding the fastest settings, keeping them, and serving with them; weights in other types."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rerankd import machine
from rerankd.cli import main
from rerankd.deployments import applied_tuning, load_check, runtime
from rerankd.deployments.applied_tuning import AppliedTuning
from rerankd.deployments.target import Target, examine
from rerankd.domain import RankRequest
from rerankd.engine.llama.requantize import LOSSLESS, bytes_as, requantize
from rerankd.errors import ModelFileError, StateError
from rerankd.measuring.tuning import trials
from rerankd.measuring.tuning.candidates import TuningCandidate, TuningTrial
from rerankd.measuring.tuning.search import find_fastest
from rerankd.measuring.tuning.trials import GAIN, TuningBench
from rerankd.service import build
from rerankd.settings import Settings
from rerankd.sources import catalog
from rerankd.sources import gguf as gguf_file

from support.tiny_models import write_qwen3

pytestmark = pytest.mark.slow


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return Settings(state_dir=str(tmp_path / "state"))


@pytest.fixture
def target(tiny_bert: Path, own: Settings) -> Target:
    return examine("tiny", tiny_bert, None, own)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Measure for an instant: what is tested is not how fast this machine is."""
    monkeypatch.setattr(trials, "SHORTEST_SLICE", 0.001)
    monkeypatch.setattr(trials, "LONGEST_SLICE", 0.001)
    yield  # noqa: PT022 - autouse


def result(**changes: Any) -> AppliedTuning:
    found = AppliedTuning(
        model="tiny",
        workers=3,
        threads=1,
        step_tokens=77,
        flash_attn="off",
        weights="f32",
        ratio=1.4,
        measured=1.0,
    )
    return msgspec.structs.replace(found, **changes)


def with_speeds(
    monkeypatch: pytest.MonkeyPatch, speed: Callable[[TuningCandidate], float]
) -> list[TuningCandidate]:
    """Have candidates run at made speeds; return the list of what was measured."""
    measured: list[TuningCandidate] = []

    def rate(_bench: Any, candidate: TuningCandidate, _seconds: float) -> float:
        measured.append(candidate)
        return speed(candidate)

    monkeypatch.setattr(TuningBench, "_rate", rate)
    return measured


# Choosing


def test_each_knob_keeps_the_fastest_of_the_knob_before(
    target: Target, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers, then steps with these workers, then weights, then flash attention."""
    wanted = {"step_tokens": 96, "weights": "f32", "flash_attn": "off"}

    def speed(candidate: TuningCandidate) -> float:
        hits = sum(getattr(candidate, name) == value for name, value in wanted.items())
        return 100.0 * 1.5**hits * (2 if candidate.workers == 1 else 1)

    with_speeds(monkeypatch, speed)
    found = find_fastest(target, own)

    assert found.workers == 1
    assert {name: getattr(found, name) for name in wanted} == wanted
    assert found.ratio == pytest.approx(1.5**3 * (2 if found.threads > 1 else 1))


def test_noise_changes_nothing(
    target: Target, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A candidate that is hardly faster doesn't replace the default."""
    default = TuningBench(target, own, 1.0, frozenset(), lambda _: None).default()
    with_speeds(monkeypatch, lambda one: 100.0 if one == default else 100.0 * (GAIN - 0.01))
    found = find_fastest(target, own)

    assert (found.step_tokens, found.weights, found.ratio) == (default.step_tokens, "file", 1.0)
    assert not list((applied_tuning.state_folder(own) / applied_tuning.WEIGHTS_FOLDER).iterdir()), (
        "losers are removed"
    )


def test_rounded_weights_are_never_chosen_unasked(
    target: Target, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast BF16 is, only F32 is measured without --accept."""
    measured = with_speeds(monkeypatch, lambda one: 500.0 if one.weights == "bf16" else 100.0)

    assert find_fastest(target, own).weights == "file"
    assert {one.weights for one in measured} == {"file"} | LOSSLESS


@pytest.mark.parametrize(("error", "chosen"), [(0.01, "bf16"), (0.2, "file")])
def test_asked_for_they_must_be_as_near_to_exact_as_the_file(
    target: Target,
    own: Settings,
    monkeypatch: pytest.MonkeyPatch,
    error: float,
    chosen: str,
) -> None:
    """A type whose scores are further from F32's than the file's own is left out."""
    with_speeds(monkeypatch, lambda one: 500.0 if one.weights == "bf16" else 100.0)
    errors = {"file": 0.1, "f32": 0.0, "bf16": error}
    monkeypatch.setattr(TuningBench, "_errors", lambda *_: errors)
    trials_seen: list[TuningTrial] = []

    assert find_fastest(target, own, accept=["bf16"], on_trial=trials_seen.append).weights == chosen
    weights = {one.candidate.weights: one.error for one in trials_seen if one.knob == "weights"}
    assert weights == {kind: errors[kind] for kind in weights}


def test_without_memory_no_weights_are_written(
    target: Target, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A type that would fill the memory is no candidate."""
    monkeypatch.setattr(machine, "available_memory", lambda: 1000)
    measured = with_speeds(monkeypatch, lambda _: 100.0)
    find_fastest(target, own)

    assert {one.weights for one in measured} == {"file"}


def test_no_time_is_no_change(target: Target, own: Settings) -> None:
    """With no time left the defaults are what is found."""
    found = find_fastest(target, own, seconds=0.0)

    assert (found.weights, found.ratio) == ("file", 1.0)


@given(st.lists(st.floats(1, 1000), min_size=12, max_size=12))
@hypothesis_settings(deadline=None, max_examples=20)
def test_the_choice_is_never_slower_than_the_default_in_any_knob(speeds: list[float]) -> None:
    """Whatever the speeds, what is kept was the fastest of its knob, or what was there."""
    bench = TuningBench.__new__(TuningBench)
    trials_seen: list[TuningTrial] = []
    bench._on_trial, bench._error = trials_seen.append, {}
    candidates = [
        TuningCandidate(workers=1, threads=1, step_tokens=number)
        for number in range(1, len(speeds) + 1)
    ]
    bench._rates = lambda chosen: {one: [speeds[one.step_tokens - 1]] for one in chosen}  # type: ignore[method-assign]
    best = bench.choose("step", candidates[0], candidates)

    assert speeds[best.step_tokens - 1] >= speeds[0]
    assert [one.candidate for one in trials_seen if one.chosen] == [best]


@pytest.mark.parametrize("family", ["bert", "qwen3"])
def test_real_runs_give_real_rates(
    family: str, own: Settings, tiny_bert: Path, tiny_qwen3: Path
) -> None:
    """The whole of it over llama.cpp, for an encoder and for a causal model."""
    path = tiny_bert if family == "bert" else tiny_qwen3
    trials_seen: list[TuningTrial] = []
    found = find_fastest(
        examine("tiny", path, None, own), own, seconds=60, on_trial=trials_seen.append
    )

    assert found.workers >= 1
    assert all(one.tokens_per_second > 0 for one in trials_seen)
    assert {one.knob for one in trials_seen} >= {"step", "flash attention"}


def test_memory_that_the_system_does_not_know_is_all_there_is(
    target: Target, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without /proc/meminfo a small model's weights are still tried in other types."""
    monkeypatch.setattr(machine, "available_memory", lambda: None)
    measured = with_speeds(monkeypatch, lambda _: 100.0)
    find_fastest(target, own)

    assert {one.weights for one in measured} == {"file"} | LOSSLESS


# Weights in other types


def tensors(path: Path) -> dict[str, Any]:
    return {one.name: one for one in GGUFReader(path).tensors}


def test_f32_weights_are_the_same_values(tmp_path: Path) -> None:
    """Every value of a quantised file survives exactly, and word embeddings keep their type."""
    source = catalog.folder() / "rerank-mini-en-q8_0.gguf"
    made = tmp_path / "f32.gguf"
    requantize(gguf_file.read(source), made, "f32", threads=1)
    before, after = tensors(source), tensors(made)

    assert before.keys() == after.keys()
    assert before["blk.0.attn_q.weight"].tensor_type == GGMLQuantizationType.Q8_0
    assert after["blk.0.attn_q.weight"].tensor_type == GGMLQuantizationType.F32
    assert after["token_embd.weight"].tensor_type == before["token_embd.weight"].tensor_type
    for name, tensor in before.items():
        other = after[name]
        np.testing.assert_array_equal(
            dequantize(tensor.data, tensor.tensor_type).reshape(-1),
            dequantize(other.data, other.tensor_type).reshape(-1),
            err_msg=name,
        )


def test_nothing_is_left_of_a_failure(tmp_path: Path, tiny_bert: Path) -> None:
    """A target that can't be written is an error with its reason, and no half file."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ModelFileError, match="cannot be converted to f32"):
        requantize(gguf_file.read(tiny_bert), blocked / "f32.gguf", "f32", threads=1)

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_trials_seen_before(
    tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The space is looked at before gigabytes are written."""
    monkeypatch.setattr("rerankd.engine.llama.requantize.SPARE_BYTES", 2**60)
    header = gguf_file.read(tiny_bert)
    with pytest.raises(ModelFileError, match=f"need {bytes_as(header, 'f32')} bytes"):
        requantize(header, tmp_path / "f32.gguf", "f32", threads=1)


def test_scores_of_the_embedded_model_move_less_than_its_own_rounding(own: Settings) -> None:
    """Served from F32 weights, the panda answer is the file's within Q8_0's own error."""
    request = RankRequest(
        query="What is a panda?",
        documents=("hi", "it is a bear", "The giant panda is a bear species of China."),
        raw_scores=True,
    )

    async def scores(settings: Settings) -> list[tuple[int, float]]:
        service = build(settings)
        await service.start()
        result = await service.rank(request)
        assert result.model == "rerank-mini-en"
        await service.close()
        return [(one.index, one.score) for one in result.results]

    plain = asyncio.run(scores(own))
    exact = asyncio.run(scores(msgspec.structs.replace(own, weights="f32")))

    assert [index for index, _ in plain] == [index for index, _ in exact] == [2, 1, 0]
    for (_, one), (_, other) in zip(plain, exact, strict=True):
        assert one == pytest.approx(other, abs=0.17)
    assert plain != exact, "other weights were really used"
    assert len(list((Path(own.state_dir) / applied_tuning.WEIGHTS_FOLDER).glob("*-f32.gguf"))) == 1


# Keeping and applying


def test_what_was_kept_is_found_and_applied(target: Target, own: Settings) -> None:
    """Serve takes the result wherever nothing else was asked for."""
    applied_tuning.keep_tuning(target.header, own, result())
    applied = applied_tuning.apply_tuning(target.header, own)

    assert applied_tuning.find_tuning(target.header, own) == result()
    assert (applied.workers, applied.threads, applied.step_tokens) == (3, 1, 77)
    assert (applied.flash_attn, applied.weights) == ("off", "f32")


def test_what_a_person_set_stays(target: Target, own: Settings) -> None:
    """A setting of one's own beats the result."""
    applied_tuning.keep_tuning(target.header, own, result())
    set_by_hand = msgspec.structs.replace(own, workers=1, step_tokens=64, weights="file")
    applied = applied_tuning.apply_tuning(target.header, set_by_hand)

    assert (applied.workers, applied.threads) == (1, 0)
    assert (applied.step_tokens, applied.weights) == (64, "file")


def test_a_share_of_the_cores_is_shared_out_anew(target: Target, own: Settings) -> None:
    """Workers that were found for all cores are not taken for some of them; the rest is."""
    applied_tuning.keep_tuning(target.header, own, result())
    applied = applied_tuning.apply_tuning(target.header, msgspec.structs.replace(own, cores=1))

    assert (applied.workers, applied.threads) == (0, 0)
    assert applied.step_tokens == 77


@pytest.mark.parametrize("changed", ["processor", "version", "available_cores"])
def test_another_machine_or_engine_begins_anew(
    target: Target, own: Settings, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """A result holds for the processor, the cores and the engine it was measured with."""
    applied_tuning.keep_tuning(target.header, own, result())
    monkeypatch.setattr(applied_tuning, changed, lambda *_: "another")

    assert applied_tuning.find_tuning(target.header, own) is None
    assert applied_tuning.apply_tuning(target.header, own) == own


def test_another_shape_begins_anew(target: Target, own: Settings, tiny_qwen3: Path) -> None:
    """Results are kept model by model."""
    applied_tuning.keep_tuning(target.header, own, result())
    other = examine("other", tiny_qwen3, None, own).header
    applied_tuning.keep_tuning(other, own, result(model="other", workers=1))

    assert applied_tuning.find_tuning(target.header, own) == result()
    assert applied_tuning.find_tuning(other, own) == result(model="other", workers=1)


def test_forgetting_removes_the_weights_too(target: Target, own: Settings) -> None:
    """After --forget nothing is left of a result, and forgetting again says so."""
    applied_tuning.keep_tuning(target.header, own, result())
    path = applied_tuning.weights_file(
        target.header, applied_tuning.apply_tuning(target.header, own)
    )
    assert path.exists()

    assert applied_tuning.forget_tuning(target.header, own)
    assert not path.exists()
    assert not applied_tuning.forget_tuning(target.header, own)


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}', b"\xff"])
def test_a_damaged_file_is_passed_over(
    target: Target, own: Settings, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Serving goes on with the defaults, and one line says why."""
    folder = Path(own.state_dir)
    folder.mkdir()
    (folder / applied_tuning.TUNING_FILE).write_bytes(content)

    assert applied_tuning.apply_tuning(target.header, own) == own
    assert "cannot read" in caplog.text


@pytest.mark.parametrize(
    "change", [{"weights": "future"}, {"flash_attn": "perhaps"}, {"workers": -1}]
)
def test_a_tuning_of_values_out_of_range_is_passed_over(
    target: Target, own: Settings, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A later version or a person may have written it."""
    odd = msgspec.structs.replace(result(), **change)
    applied_tuning.keep_tuning(target.header, own, odd)
    assert applied_tuning.apply_tuning(target.header, own) == own
    assert "is ignored" in caplog.text


def test_a_tuning_and_its_weights_are_private(target: Target, own: Settings) -> None:
    """As all state files, whatever the umask."""
    before = os.umask(0)
    try:
        applied_tuning.keep_tuning(target.header, own, result())
        settings = msgspec.structs.replace(own, weights="f32")
        written = applied_tuning.weights_file(target.header, settings)
    finally:
        os.umask(before)
    kept = Path(own.state_dir) / applied_tuning.TUNING_FILE
    assert [one.stat().st_mode & 0o777 for one in (kept, written)] == [0o600, 0o600]
    assert [one.name for one in kept.parent.iterdir() if one.is_file()] == [kept.name]


def test_what_can_not_be_kept_is_an_error(target: Target, tmp_path: Path) -> None:
    """Tuning for nothing would be a surprise at the next start."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateError, match="cannot store the tuning result"):
        applied_tuning.keep_tuning(
            target.header, Settings(state_dir=str(tmp_path / "file")), result()
        )


def test_weights_are_written_once(target: Target, own: Settings) -> None:
    """The second start finds the file; a file that changed is another one."""
    settings = msgspec.structs.replace(own, weights="f32")
    first = applied_tuning.weights_file(target.header, settings)
    stamp = first.stat().st_mtime_ns

    assert applied_tuning.weights_file(target.header, settings) == first
    assert first.stat().st_mtime_ns == stamp


def test_a_new_training_of_the_same_network_gets_weights_of_its_own(
    tmp_path: Path, own: Settings
) -> None:
    """Same name, same shape, other values: the file's time tells them apart."""
    settings = msgspec.structs.replace(own, weights="f32")
    source = write_qwen3(tmp_path / "model.gguf")
    first = applied_tuning.weights_file(gguf_file.read(source), settings)
    write_qwen3(source)

    assert applied_tuning.weights_file(gguf_file.read(source), settings) != first


def test_the_processors_name_is_the_systems(tmp_path: Path) -> None:
    """Linux tells it in cpuinfo; elsewhere Python's own answer will do."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nmodel name\t: A Fast One\nmodel name\t: A Fast One\n")

    assert applied_tuning.processor(cpuinfo) == "A Fast One"
    assert applied_tuning.processor(tmp_path / "none")


# The command


def test_the_command_prints_what_it_keeps(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSONL to a pipe, one line a trial and the result last; serve then uses it."""
    with_speeds(monkeypatch, lambda one: 200.0 if one.flash_attn == "off" else 100.0)
    arguments = ["tune", str(tiny_bert), "--state-dir", str(tmp_path)]
    done = CliRunner().invoke(main, arguments)
    lines = [json.loads(line) for line in done.stdout.splitlines()]

    assert done.exit_code == 0, done.output
    assert next(line["knob"] for line in lines[:-1] if line["chosen"]) == "workers"
    assert (lines[-1]["flash_attn"], lines[-1]["ratio"]) == ("off", 2.0)
    target = examine("tiny", tiny_bert, None, Settings(state_dir=str(tmp_path)))
    assert runtime.fastest(target).settings.flash_attn == "off"

    again = CliRunner().invoke(main, [*arguments, "--forget"])
    assert "forgotten" in again.stderr
    assert "no tuning result" in CliRunner().invoke(main, [*arguments, "--forget"]).stderr


def test_a_dry_run_keeps_nothing(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--dry-run measures and leaves no trace."""
    with_speeds(monkeypatch, lambda _: 100.0)
    done = CliRunner().invoke(
        main, ["tune", str(tiny_bert), "--dry-run", "--state-dir", str(tmp_path)]
    )

    assert done.exit_code == 0
    assert not (tmp_path / applied_tuning.TUNING_FILE).exists()


def test_a_served_model_tells_of_its_load_check_with_new_weights(
    target: Target, own: Settings
) -> None:
    """What tuning wrote passes the same check as any file."""
    fast = runtime.fastest(
        msgspec.structs.replace(target, settings=msgspec.structs.replace(own, weights="f32"))
    )

    assert fast.header.path != target.header.path
    assert load_check.check_load(fast, fast.settings).alone
