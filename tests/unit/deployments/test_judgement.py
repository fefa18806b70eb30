"""The load check's judgement: what ranks, what doesn't, and who is served all the same."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from rerankd import cli
from rerankd.deployments import load_check
from rerankd.deployments.judgement import Judgement, judge_ranking, languages_to_try
from rerankd.deployments.known_answers import KNOWN_ANSWERS
from rerankd.deployments.loader import FileLoader
from rerankd.deployments.target import Target, examine
from rerankd.domain import RankRequest, StepLimits
from rerankd.errors import LoadCheckFailed, ModelFailed, UnprovenModel
from rerankd.prompts import PairLayout, PromptBuilder
from rerankd.service import build
from rerankd.settings import Settings
from rerankd.sources import gguf, resolve
from rerankd.store import Spec, Store

from support.fakes import LIMITS, FakeBackend, FakeTokenizer
from support.places import DATA

pytestmark = pytest.mark.slow

CROSS = DATA / "models" / "cross-mini-en-q8_0.gguf"
ROOMY = StepLimits(pair_tokens=512, step_tokens=2048, step_rows=16, step_prefixes=8, cells=4096)


def judged(
    scores: Iterable[float], languages: tuple[str, ...] = (), limits: StepLimits = ROOMY
) -> tuple[Judgement, FakeBackend]:
    """Judge a model that gives these logits, one after the other and again."""
    given = cycle(scores)
    backend = FakeBackend(score=lambda _row: next(given), limits=limits)
    tokenizer = FakeTokenizer()
    empty = tokenizer.tokenize("")
    prompts = PromptBuilder(PairLayout(tokenizer, empty, empty, empty), limits.pair_tokens)
    return judge_ranking(backend, prompts, languages), backend


@pytest.mark.parametrize("limits", [ROOMY, LIMITS])
def test_a_model_that_ranks_is_proven_by_its_first_language(limits: StepLimits) -> None:
    """English alone is tried, in one step where a step holds it."""
    found, backend = judged([2.0, -1.0], limits=limits)

    assert (found.proven, found.language, found.right, found.margin) == (True, "en", 5, 3.0)
    assert found.summary == "relevant texts come first for 5 of 5 in 'en'"
    assert sum(map(len, backend.steps_of_lengths)) == 10
    assert (len(backend.steps) == 1) == (limits is ROOMY)


def test_one_miss_of_five_is_forgiven() -> None:
    assert judged([2.0, -1.0] * 4 + [0.0, 1.0])[0].proven
    assert not judged([2.0, -1.0] * 3 + [0.0, 1.0] * 2)[0].proven


@pytest.mark.parametrize(
    "scores",
    [
        pytest.param([-1.0, 2.0], id="backwards"),
        pytest.param([0.5], id="ties"),
        pytest.param([0.5, 0.5 - 1e-5], id="rounding"),
        # Each text is once the relevant and once the irrelevant one.
        pytest.param([5.0, 4.0, 4.0, 3.0, 3.0, 2.0, 2.0, 1.0, 1.0, 5.0], id="blind to the query"),
    ],
)
def test_no_language_proves_a_model_that_does_not_rank(scores: list[float]) -> None:
    """What was seen is in the line: a query and both texts with their scores."""
    found, backend = judged(scores)

    assert not found.proven
    assert sum(map(len, backend.steps_of_lengths)) == 10 * len(KNOWN_ANSWERS)
    worst = found.worst
    assert f"{worst.relevant_logit:.3f}" in found.summary
    assert f"{worst.irrelevant_logit:.3f}" in found.summary
    assert repr(worst.query) in found.summary
    assert "\n" not in found.summary


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_fails_whatever_the_rest(score: float) -> None:
    with pytest.raises(LoadCheckFailed, match="not numbers"):
        judged([2.0, -1.0] * 4 + [score, -1.0])


def test_a_model_s_own_languages_are_tried() -> None:
    """Those there are texts in; all where none is known or has texts."""
    assert languages_to_try(["de"]) == ["de"]
    assert languages_to_try(["ZH-Hant", "en"]) == ["en", "zh"]
    assert languages_to_try(["mul"]) == languages_to_try([]) == languages_to_try(["cy"])
    assert judged([1.0] * 10 + [2.0, -1.0] * 5, ("en", "de"))[0].language == "de"
    assert not judged([1.0] * 10 + [2.0, -1.0] * 5, ("en",))[0].proven


def test_no_text_of_a_language_stands_twice() -> None:
    """Each answers one query, so that each can be the irrelevant text of another."""
    for answers in KNOWN_ANSWERS.values():
        assert len(answers) == len({query for query, _ in answers}) == 5
        assert len(answers) == len({text for _, text in answers})


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests' cross-encoder with the sign of its head's weights turned round."""
    path = tmp_path_factory.mktemp("flipped") / "flipped.gguf"
    path.write_bytes(CROSS.read_bytes())
    head = gguf.read(path).tensors["cls.output.weight"]
    blocks = np.memmap(path, np.int8, "r+", offset=head.offset, shape=(head.bytes // 34, 34))
    blocks[:, 2:] = -blocks[:, 2:]  # Q8_0: two bytes of scale, then 32 numbers
    blocks.flush()
    return path


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were checked, in this process: starting a child takes seconds."""
    found: list[Path] = []

    async def check_here(
        path: Path, settings: Settings, _known_as: str | None
    ) -> load_check.LoadCheckResult:
        found.append(path)
        return load_check.check_load(examine("x", path, None, settings), settings)

    monkeypatch.setattr(load_check, "check_in_child", check_here)
    return found


def accepted(*, accept: bool, **more: str) -> Settings:
    return Settings(
        workers=1,
        threads=1,
        accept_degraded=True,
        accept_unproven=accept,
        **more,  # type: ignore[arg-type]
    )


def test_a_file_that_ranks_backwards_fails_unless_it_is_accepted(
    flipped: Path, tmp_path: Path, checks: list[Path]
) -> None:
    """Each outcome is remembered; one that was accepted counts only as long as it is."""
    store = Store(tmp_path)
    resolved = resolve.ResolvedModel(flipped, None)

    def verify(*, accept: bool) -> Target:
        loader = FileLoader(accepted(accept=accept), store)
        return asyncio.run(loader.verify(Spec(id="x", source=str(flipped)), resolved))[0]

    with pytest.raises(UnprovenModel, match=r"0 of 5 in 'en'.*--accept-unproven"):
        verify(accept=False)
    assert verify(accept=True).unproven
    assert verify(accept=True).unproven
    assert len(checks) == 2
    with pytest.raises(UnprovenModel):
        verify(accept=False)


@pytest.mark.usefixtures("checks")
def test_every_answer_of_an_unproven_model_says_so(flipped: Path, tmp_path: Path) -> None:
    """And it says nothing of the kind about a proven one that is accepted in advance."""

    async def warnings(path: Path, *, accept: bool) -> str:
        service = build(accepted(accept=accept, model=str(path), state_dir=str(tmp_path)))
        try:
            await service.start()
            result = await service.rank(RankRequest(query="a", documents=("b",)))
            return " ".join(result.warnings)
        finally:
            await service.close()

    with pytest.raises(ModelFailed, match="accept_unproven"):
        asyncio.run(warnings(flipped, accept=False))
    assert "unproven model" in asyncio.run(warnings(flipped, accept=True))
    assert "unproven model" not in asyncio.run(warnings(CROSS, accept=True))


@pytest.mark.usefixtures("checks")
def test_inspect_shows_the_judgement(flipped: Path) -> None:
    """The report comes first, then the reason why the file isn't served."""
    asked = ["inspect", "--load", "--accept-degraded", str(flipped)]
    refused = CliRunner().invoke(cli.main, asked)
    taken = CliRunner().invoke(cli.main, [*asked, "--accept-unproven"])

    assert (refused.exit_code, taken.exit_code) == (2, 0)
    check = json.loads(refused.stdout)["check"]
    assert check["proven"] is False
    assert "0 of 5 in 'en'" in check["judgement"]
    assert "--accept-unproven" in refused.stderr
