"""The model of a request that names none: the embedded one that has its texts' language."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rerankd.auth.keys import Caller
from rerankd.domain import RankedResult, RankRequest
from rerankd.errors import ModelNotFound
from rerankd.service import Service
from rerankd.settings import load_settings
from rerankd.store import Spec

from support.fakes import PATIENCE
from support.two_embedded import ENGLISH, MANY, TwoEngines, install, service_of_two

Outcome = TypeVar("Outcome")

ENGLISH_TEXTS = ("The panda is a bear that lives in the forest.", "It is going to rain.")
GERMAN_TEXTS = (
    "Der Panda ist ein Bär, der in den Wäldern lebt.",
    "Es wird in der Stadt und auf dem Land regnen.",
)
ARABIC_TEXTS = ("الباندا دب يعيش في الغابات.", "سوف تمطر غدا في المدينة.")


@pytest.fixture(autouse=True)
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)


def asking(*documents: str, query: str = "panda", model: str | None = None) -> RankRequest:
    return RankRequest(query=query, documents=documents, model=model)


def serve(
    test: Callable[[Service], Awaitable[Outcome]],
    engines: TwoEngines | None = None,
    **settings: Any,
) -> Outcome:
    """Run a test on one event loop with a service of both stand-ins."""

    async def whole() -> Outcome:
        service = service_of_two(engines or TwoEngines(), **settings)
        await service.start()
        try:
            async with asyncio.timeout(PATIENCE):
                return await test(service)
        finally:
            await service.close()

    return asyncio.run(whole())


def states(service: Service) -> dict[str, str]:
    return {one.id: one.state for one in service.deployments.statuses}


def test_each_request_goes_to_the_model_of_its_language() -> None:
    """English stays with the default model, and the other one loads when it is first needed."""
    engines = TwoEngines()

    async def work(service: Service) -> list[RankedResult]:
        english = await service.rank(asking(*ENGLISH_TEXTS))
        assert {ENGLISH: "ready", MANY: "absent"} == states(service)
        assert [ENGLISH] == engines.opened
        german = await service.rank(asking(*GERMAN_TEXTS))
        arabic = await service.rank(asking("x", "y", query=ARABIC_TEXTS[0], model=""))
        again = await service.rank(asking(*ENGLISH_TEXTS))
        return [english, german, arabic, again]

    found = serve(work, engines)

    assert [ENGLISH, MANY, MANY, ENGLISH] == [one.model for one in found]
    assert ["", "de", "ar", ""] == [one.language for one in found]
    assert [
        "",
        f"the documents are in German (de), which {ENGLISH} does not have",
        f"the query is in Arabic (ar), which {ENGLISH} does not have",
        "",
    ] == [one.model_reason for one in found]
    assert not any(one.warnings for one in found)
    assert [ENGLISH, MANY] == engines.opened


def test_a_named_model_is_never_changed() -> None:
    """It ranks, and warns, with the other one named."""
    found = serve(lambda service: service.rank(asking(*GERMAN_TEXTS, model=ENGLISH)))

    assert ENGLISH == found.model
    assert (
        f"the documents are in German (de), which {ENGLISH}'s card doesn't list; {MANY} does",
    ) == found.warnings
    assert not found.model_reason


def test_each_language_that_a_model_lacks_is_warned_of() -> None:
    """Query and documents may be in two, and neither hides the other."""
    request = asking(
        *GERMAN_TEXTS, query="Где живёт большая панда, и чем она питается?", model=ENGLISH
    )
    found = serve(lambda service: service.rank(request))

    lacking = f"which {ENGLISH}'s card doesn't list; {MANY} does"
    assert (
        f"the documents are in German (de), {lacking}",
        f"the query is in Russian (ru), {lacking}",
    ) == found.warnings


def test_a_model_of_many_languages_may_be_named() -> None:
    """Its name loads it, for English too, and nothing is told."""
    found = serve(lambda service: service.rank(asking(*ENGLISH_TEXTS, model=MANY)))

    assert (MANY, "", ()) == (found.model, found.model_reason, found.warnings)


def test_auto_is_told_what_it_got() -> None:
    """The choice may be asked for, and is always explained then."""

    async def work(service: Service) -> list[RankedResult]:
        return [
            await service.rank(asking(*texts, model="auto"))
            for texts in (ENGLISH_TEXTS, GERMAN_TEXTS)
        ]

    english, german = serve(work)

    assert (ENGLISH, "the server's default model") == (english.model, english.model_reason)
    assert (MANY, "de") == (german.model, german.language)


def test_requests_that_belong_together_go_to_one_model() -> None:
    """One is decided on for all texts, so that their scores can be compared."""
    found = serve(
        lambda service: service.rank_many([asking(*ENGLISH_TEXTS), asking(*GERMAN_TEXTS)])
    )

    assert [MANY, MANY] == [one.model for one in found]


def test_scores_of_the_two_models_are_kept_apart(tmp_path: Path) -> None:
    """What one has scored is unknown to the other."""
    file = tmp_path / f"{MANY}.gguf"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)  # another file of the same weights

    async def work(service: Service) -> list[RankedResult]:
        named = [asking(*GERMAN_TEXTS, model=one) for one in (ENGLISH, None, None, ENGLISH)]
        return [await service.rank(one) for one in named]

    english, first, second, again = serve(work)

    assert [0, 0, 2, 2] == [one.cached for one in (english, first, second, again)]
    assert english.results == again.results
    assert first.results == second.results
    assert english.results != first.results


def test_a_key_keeps_to_its_models() -> None:
    """The other model is neither used nor loaded for a key that doesn't allow it."""
    engines = TwoEngines()

    async def work(service: Service) -> list[RankedResult]:
        kept = await service.rank(asking(*GERMAN_TEXTS), caller=Caller(models=(ENGLISH,)))
        assert [ENGLISH] == engines.opened
        only = [
            await service.rank(asking(*texts), caller=Caller(models=(MANY,)))
            for texts in (GERMAN_TEXTS, ENGLISH_TEXTS)
        ]
        with pytest.raises(ModelNotFound):
            await service.rank(asking(*GERMAN_TEXTS), caller=Caller(models=("another",)))
        return [kept, *only]

    kept, german, english = serve(work, engines)

    assert ENGLISH == kept.model
    assert len(kept.warnings) == 1
    assert [MANY, MANY] == [german.model, english.model]
    assert f"this API key may not use {ENGLISH}" == english.model_reason


def test_the_default_model_stands_in_for_one_that_fails() -> None:
    """The request is answered, with the reason and the warning; later ones don't try again."""

    async def work(service: Service) -> list[RankedResult]:
        first = await service.rank_many([asking(*GERMAN_TEXTS), asking(*GERMAN_TEXTS)])
        return [*first, await service.rank(asking(*GERMAN_TEXTS))]

    first, second, later = serve(work, TwoEngines(fails=MANY))

    assert [ENGLISH] * 3 == [one.model for one in (first, second, later)]
    for one in (first, second):
        assert "this file is broken; the default model ranked instead" in one.model_reason
    assert not later.model_reason
    assert all("German (de)" in one.warnings[0] for one in (first, second, later))


def test_an_idle_model_is_unloaded_and_loaded_again() -> None:
    """It goes after its time even where no `idle_timeout` is set; the default one stays."""
    engines = TwoEngines()

    async def work(service: Service) -> None:
        await service.rank(asking(*GERMAN_TEXTS))
        deployments = service.deployments
        deployments.unload_idle()
        assert {ENGLISH: "ready", MANY: "ready"} == states(service)
        deployments._all[MANY].used -= 601
        async with aclosing(deployments.events()) as events:
            deployments.unload_idle()
            async for status in events:
                if (status.id, status.state) == (MANY, "draining"):
                    break
        # While it drains, the next request waits and has it loaded again.
        assert MANY == (await service.rank(asking(*GERMAN_TEXTS))).model

    serve(work, engines)

    assert [ENGLISH, MANY, MANY] == engines.opened


def test_what_was_only_offered_makes_way() -> None:
    """The other model may be deployed with options, and stopped: then nothing goes to it."""

    async def work(service: Service) -> RankedResult:
        deployed = await service.deployments.deploy(Spec(id=MANY, source=MANY, pinned=True))
        assert deployed.task
        await deployed.task
        assert MANY == (await service.rank(asking(*GERMAN_TEXTS))).model
        assert service.deployments.status(MANY).pinned
        await service.deployments.stop(MANY)
        return await service.rank(asking(*GERMAN_TEXTS))

    assert ENGLISH == serve(work).model


@pytest.mark.parametrize(
    "chosen",
    [{"match_language": False}, {"model_id": MANY, "model": MANY}],
    ids=["told not to", "a default model of many languages"],
)
def test_nothing_is_chosen_without_need(chosen: dict[str, Any]) -> None:
    """Where it is off, or the default model has every language."""
    found = serve(lambda service: service.rank(asking(*GERMAN_TEXTS)), **chosen)

    assert chosen.get("model", ENGLISH) == found.model
    assert not found.model_reason


def test_nothing_is_offered_where_one_model_is_embedded(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An English text gets the answer it always got."""
    install(tmp_path_factory.mktemp("one"), monkeypatch, ENGLISH)

    async def work(service: Service) -> RankedResult:
        assert {ENGLISH: "ready"} == states(service)
        return await service.rank(asking(*GERMAN_TEXTS))

    assert ENGLISH == serve(work).model


@pytest.mark.parametrize(
    ("given", "on"),
    [
        ({}, True),
        ({"model": ENGLISH}, False),
        ({"model": ENGLISH, "match_language": True}, True),
        ({"match_language": False}, False),
    ],
)
def test_a_model_that_a_person_chose_ranks_everything(given: dict[str, Any], on: bool) -> None:
    """`--model` turns the choice off, unless both are asked for."""
    effective = load_settings(given, environment={})

    assert on == effective.settings.match_language
    if given.keys() == {"model"}:
        assert effective.sources["model"] == effective.sources["match_language"]
