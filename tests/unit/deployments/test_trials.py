"""Models that end the process while they load: tried once more, then held back."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from rerankd.deployments import loader as loader_module
from rerankd.deployments import trials
from rerankd.deployments.loader import FileLoader
from rerankd.deployments.target import Target, examine
from rerankd.deployments.trials import Trials
from rerankd.errors import ModelFailed, ModelFileError
from rerankd.settings import Settings
from rerankd.sources.resolve import resolve_model
from rerankd.store import STATE_FILE, Spec, Store

from support.places import DATA
from support.serving import SERVED, FakeEngine

BASE = Settings()
SPEC = Spec(id="x", source="x.gguf", options={"workers": 2})
OTHER = Spec(id="y", source="y.gguf")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a state with two deployments."""
    store = Store(tmp_path)
    for one in (SPEC, OTHER):
        store.keep(one, 1.0)
    return store


def judged_target(settings: Settings) -> Target:
    """Return the tests' cross-encoder, read and judged."""
    found = resolve_model(settings.model, settings)
    return examine("x", found.path, found.manifest, settings)


def start(store: Store, base: Settings = BASE) -> Trials:
    """Return the marks of a new process."""
    return Trials(store, base)


def die_loading(store: Store, *specs: Spec, base: Settings = BASE) -> None:
    """Be a process that starts to load models, as a start does, and is killed within these."""
    own = start(store, base)
    for one in specs:
        own.require_fair(one)
        own._mark(one)


def is_held(store: Store, spec: Spec = SPEC, base: Settings = BASE) -> bool:
    """Return whether the next start holds a model back."""
    try:
        start(store, base).require_fair(spec)
    except ModelFailed:
        return True
    return False


def test_a_model_is_tried_once_more_and_then_held_back(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The first end may be chance and is logged; the second error says how to try again."""
    die_loading(store, SPEC)
    with caplog.at_level(logging.WARNING):
        start(store).require_fair(SPEC)
    assert "loading x, which is tried once more" in caplog.text

    die_loading(store, SPEC)
    with pytest.raises(ModelFailed, match="ended 2 times") as raised:
        start(store).require_fair(SPEC)
    for way in ("rerankd restart x", "console", "/v1/deployments/x/restart"):
        assert way in raised.value.message


def test_starts_that_hold_a_model_back_count_no_more_deaths(store: Store) -> None:
    """It stays held back, with the same count, however often the server starts."""
    for _ in range(2):
        die_loading(store, SPEC)
    for _ in range(3):
        with pytest.raises(ModelFailed, match="ended 2 times"):
            start(store).require_fair(SPEC)


def test_only_what_was_being_loaded_is_blamed(store: Store) -> None:
    """A model that waited for its turn, or had been loaded, is none the worse."""
    for _ in range(2):
        own = start(store)
        own.require_fair(SPEC)
        with own.during(OTHER, last=True):
            pass
        own._mark(SPEC)
    assert is_held(store, SPEC)
    assert not is_held(store, OTHER)


def test_a_model_that_became_ready_starts_anew(store: Store) -> None:
    """Deaths count in a row only."""
    die_loading(store, SPEC)
    with start(store).during(SPEC, last=True):
        pass
    die_loading(store, SPEC)
    assert not is_held(store)


def test_an_early_step_that_ends_well_clears_nothing(store: Store) -> None:
    """What dies in its last step passes the earlier ones each time."""
    for _ in range(2):
        own = start(store)
        own.require_fair(SPEC)
        with own.during(SPEC):
            pass
        own._mark(SPEC)
    assert is_held(store)


def test_an_error_is_no_death(store: Store) -> None:
    """The process outlived it, and the deployment has its reason."""
    die_loading(store, SPEC)
    with pytest.raises(ModelFileError), start(store).during(SPEC):
        raise ModelFileError("broken")
    die_loading(store, SPEC)
    assert not is_held(store)


def test_a_stop_in_order_blames_nobody(store: Store) -> None:
    """Not even where the process is killed afterwards because a load takes too long."""
    for _ in range(3):
        own = start(store)
        own.require_fair(SPEC)
        own._mark(SPEC)
        own._end_all()
        own._mark(OTHER)
    assert not is_held(store, SPEC)
    assert not is_held(store, OTHER)


def test_end_does_not_wait_for_the_disk(store: Store) -> None:
    """It is called on an event loop; the marks are gone when its thread has ended."""
    own = start(store)
    own._mark(SPEC)
    own.end()
    own._ending._executor.shutdown()
    with closing(sqlite3.connect(store._file)) as database:
        assert database.execute("SELECT trying FROM trial").fetchall() == [(0,)]


def test_asking_for_another_try_gives_one(store: Store) -> None:
    """Another death holds it back at once; success makes it a model like any."""
    for _ in range(2):
        die_loading(store, SPEC)
    start(store).allow(SPEC)
    assert not is_held(store)
    die_loading(store, SPEC)
    assert is_held(store)
    start(store).allow(SPEC)
    with start(store).during(SPEC, last=True):
        pass
    die_loading(store, SPEC)
    assert not is_held(store)


@pytest.mark.parametrize(
    ("spec", "base"),
    [
        (msgspec.structs.replace(SPEC, options={"workers": 1}), BASE),
        (msgspec.structs.replace(SPEC, source="smaller.gguf"), BASE),
        (SPEC, Settings(context=128)),
    ],
)
def test_other_settings_or_another_file_are_another_try(
    store: Store, spec: Spec, base: Settings
) -> None:
    """What was changed may be what ended the process; the rest stays held back."""
    for _ in range(2):
        die_loading(store, SPEC)
    assert not is_held(store, spec, base)
    assert is_held(store)


def test_another_version_tries_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have mended the crash."""
    for _ in range(2):
        die_loading(store, SPEC)
    monkeypatch.setattr(trials, "__version__", "99")
    assert not is_held(store)


def test_what_is_stopped_is_forgotten(store: Store) -> None:
    """Deployed again, it is new."""
    for _ in range(2):
        die_loading(store, SPEC)
    store.forget(SPEC.id)
    store.keep(SPEC, 2.0)
    assert not is_held(store)


def test_no_state_file_is_made_for_marks(tmp_path: Path) -> None:
    """A server that was never told anything leaves nothing behind."""
    store = Store(tmp_path)
    with start(store).during(SPEC, last=True):
        pass
    start(store).allow(SPEC)
    assert not is_held(store)
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_cannot_be_used_stops_no_load(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The model loads without a mark, and the log says so."""
    (tmp_path / STATE_FILE).write_bytes(b"no database, but long enough to be taken for one" * 30)
    own = start(store)
    own.require_fair(SPEC)
    with own.during(SPEC, last=True):
        pass
    assert "can't be noted" in caplog.text


@pytest.mark.parametrize("release", ["schema-1", "0.1.0"])
def test_the_state_of_an_earlier_release_takes_marks(release: str, tmp_path: Path) -> None:
    """Nothing in it was ever tried, and it keeps its deployment."""
    with closing(sqlite3.connect(tmp_path / STATE_FILE)) as database:
        database.executescript((DATA / "upgrade" / release / "state.sql").read_text("utf-8"))
    store = Store(tmp_path)
    (left,) = store.deployments()

    assert not is_held(store, left)
    for _ in range(2):
        die_loading(store, left)
    assert is_held(store, left)
    assert store.deployments() == [left]


def test_the_loader_marks_the_steps_of_this_process(tmp_path: Path) -> None:
    """Each step that may end the process finds its model marked, and a ready one isn't."""
    store, seen = Store(tmp_path), []
    spec = Spec(id="m", source="cross-mini-en")
    store.keep(spec, 1.0)

    def marks() -> list[tuple[str, int]]:
        with closing(sqlite3.connect(tmp_path / STATE_FILE)) as database:
            rows: list[tuple[str, int]] = database.execute(
                "SELECT deployment, trying FROM trial"
            ).fetchall()
        return rows

    class Marked(FakeEngine):
        def open(self, *given: object) -> FakeEngine:
            del given
            seen.append(marks())
            return self

    async def load() -> None:
        loader = FileLoader(Settings(**SERVED), store, Marked().open)
        resolved = await loader.download(spec, lambda _progress: None)
        target, _ = await loader.verify(spec, resolved)
        assert marks() == [("m", 0)]
        runtime = await loader.load(spec, target)
        assert marks() == []
        await runtime.close(0)

    asyncio.run(load())
    assert seen == [[("m", 1)]]


@pytest.mark.parametrize(("weights", "marked"), [("file", False), ("f16", True)])
def test_weights_are_converted_under_a_mark(
    weights: str,
    marked: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It runs in this process, too; where nothing is converted, the disk is spared."""
    seen: list[str] = []
    monkeypatch.setattr(loader_module, "fastest", lambda target: seen.append("fastest") or target)
    monkeypatch.setattr(Trials, "_mark", lambda _self, spec: seen.append(spec.id))
    loader = FileLoader(BASE, Store(tmp_path))
    target = judged_target(Settings(**SERVED, weights=weights))
    loader._converted(SPEC, target)
    assert seen == (["x", "fastest"] if marked else ["fastest"])


def test_the_loader_holds_back_and_allows(tmp_path: Path) -> None:
    """A model that is held back isn't even looked for, until it is allowed."""
    store, spec = Store(tmp_path), Spec(id="m", source="no/such.gguf")
    store.keep(spec, 1.0)
    for _ in range(2):
        die_loading(store, spec)

    async def load() -> None:
        loader = FileLoader(BASE, store)
        with pytest.raises(ModelFailed, match="held back"):
            await loader.download(spec, lambda _progress: None)
        await loader.allow(spec)
        found = await loader.download(spec, lambda _progress: None)
        assert found.path == Path("no/such.gguf")

    asyncio.run(load())
