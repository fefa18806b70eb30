"""Deployments with a fake loader: states, use, memory, idle time, events; no engine, no sleeps."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.deployments import TRANSITIONS, Deployments, Status
from rerankd.domain import ModelFacts
from rerankd.errors import (
    Conflict,
    DownloadError,
    ModelFailed,
    ModelLoading,
    ModelNotFound,
    ShuttingDown,
    StateError,
    StateUnavailable,
    UnprovenModel,
)
from rerankd.scheduling.tickets import Load
from rerankd.settings import Settings
from rerankd.sources.catalog import Manifest, find
from rerankd.sources.downloads import OnDownload
from rerankd.sources.hub.meter import DownloadProgress
from rerankd.sources.resolve import ResolvedModel
from rerankd.store import STATE_FILE, Spec, Store
from rerankd.threads import run_apart

from support.fakes import PATIENCE

GIGABYTE = 10**9


class FakeRuntime:
    """An open model that remembers how it was closed."""

    def __init__(self, model_id: str) -> None:
        self.facts = ModelFacts(
            id=model_id,
            architecture="bert",
            family="bert",
            parameters=1,
            file="x.gguf",
            file_bytes=1,
            context=512,
            trained_context=512,
        )
        self.load = Load(0, 0, 0.0)
        self.marks = ()
        self.closed: float | None = None
        self.aborted = False

    async def close(self, seconds: float) -> None:
        self.closed = seconds

    def abort(self) -> None:
        self.aborted = True


class FakeLoader:
    """A loader whose steps wait where a test holds them, and fail where it says so."""

    def __init__(self, memory: int = GIGABYTE) -> None:
        self.memory = memory
        self.manifest: Manifest | None = None
        self.held: dict[str, asyncio.Event] = {}
        self.fails: dict[str, Exception] = {}
        self.runtimes: dict[str, list[FakeRuntime]] = {}
        self.on_progress: OnDownload | None = None
        self.allowed: list[str] = []
        self.trials_ended = 0
        self.reached = {step: asyncio.Event() for step in ("download", "verify", "load")}

    @property
    def began(self) -> asyncio.Event:
        """The event that a download has begun."""
        return self.reached["download"]

    def hold(self, step: str) -> asyncio.Event:
        """Hold a step until the returned event is set."""
        return self.held.setdefault(step, asyncio.Event())

    async def _at(self, step: str) -> None:
        self.reached[step].set()
        if step in self.held:
            await self.held[step].wait()
        if step in self.fails:
            raise self.fails[step]

    async def download(self, _spec: Spec, on_progress: OnDownload) -> Any:
        self.on_progress = on_progress
        await self._at("download")
        return ResolvedModel(Path("x.gguf"), self.manifest)

    async def verify(self, _spec: Spec, _located: Any) -> tuple[Any, int]:
        await self._at("verify")
        return "target", self.memory

    async def load(self, spec: Spec, _target: Any) -> Any:
        await self._at("load")
        runtime = FakeRuntime(spec.id)
        self.runtimes.setdefault(spec.id, []).append(runtime)
        return runtime

    async def allow(self, spec: Spec) -> None:
        self.allowed.append(spec.id)

    def end_trials(self) -> None:
        self.trials_ended += 1


class Clock:
    """A clock that goes when it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class House:
    """Deployments over fakes."""

    def __init__(self, store: Store | None = None, **settings: Any) -> None:
        self.loader = FakeLoader()
        self.clock = Clock()
        self.all = Deployments(Settings(**settings), self.loader, store, self.clock)

    async def ready(self, *names: str, pinned: bool = False) -> None:
        """Deploy models one after another until they are ready."""
        for name in names:
            self.clock.now += 1
            await settled(await self.all.deploy(Spec(id=name, source=name, pinned=pinned)))

    def states(self) -> dict[str, str]:
        """Return each deployment's state."""
        return {status.id: status.state for status in self.all.statuses}


async def settled(deployment: Any) -> None:
    """Wait until a deployment's task has ended."""
    assert deployment.task
    await asyncio.wait({deployment.task}, timeout=PATIENCE)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine with a time limit."""
    asyncio.run(asyncio.wait_for(test(), PATIENCE))


def spec(name: str, **more: Any) -> Spec:
    """Return what to deploy under a name."""
    return Spec(id=name, source=name, **more)


def test_a_model_goes_through_all_states_to_ready() -> None:
    """Every state is told, in order, with its time."""

    async def check() -> None:
        house = House()
        gate = house.loader.hold("download")
        deployed = await house.all.deploy(spec("a"))
        events = house.all.events()
        seen: list[str] = [(await anext(events)).state]
        gate.set()
        await settled(deployed)
        while seen[-1] != "ready":
            seen.append((await anext(events)).state)
        await events.aclose()

        assert seen == ["downloading", "verifying", "loading", "ready"]
        assert house.all.status("a").memory_bytes == GIGABYTE

    run(check)


def test_progress_is_told_while_downloading() -> None:
    """Bytes and rate of a download are in the status, and go with the next state."""

    async def check() -> None:
        house = House()
        gate = house.loader.hold("download")
        deployed = await house.all.deploy(spec("a"))
        await house.loader.began.wait()
        assert house.loader.on_progress
        house.loader.on_progress(DownloadProgress(done=5, total=10, rate=2.0, seconds_left=2.5))
        progress = house.all.status("a").progress
        gate.set()
        await settled(deployed)

        assert progress == DownloadProgress(done=5, total=10, rate=2.0, seconds_left=2.5)
        assert house.all.status("a").progress is None

    run(check)


@pytest.mark.parametrize("step", ["download", "verify", "load"])
def test_a_failing_step_is_told_and_can_be_tried_again(step: str) -> None:
    """The reason stands in the message; requests get it; a restart tries again."""

    async def check() -> None:
        house = House()
        house.loader.fails[step] = DownloadError("the Hub is gone")
        await house.ready("a")
        assert (house.states(), house.all.status("a").message) == (
            {"a": "failed"},
            "the Hub is gone",
        )
        with pytest.raises(ModelFailed, match="the Hub is gone"):
            async with house.all.use("a"):
                pass
        house.loader.fails.clear()
        await house.all.restart("a")
        await settled(house.all._find("a"))
        assert house.states() == {"a": "ready"}

    run(check)


def test_a_restart_may_accept_what_the_load_check_judged(tmp_path: Path) -> None:
    """The status has the failure's code; what was accepted is stored with the deployment."""

    async def check() -> None:
        store = Store(tmp_path)
        house = House(store=store)
        house.loader.fails["verify"] = UnprovenModel("it ranks backwards")
        await house.ready("a")
        assert house.all.status("a").error == "unproven_model"
        house.loader.fails.clear()
        await house.all.restart("a", accept_unproven=True)
        await settled(house.all._find("a"))
        status = house.all.status("a")
        assert (status.state, status.error) == ("ready", "")
        assert status.options == {"accept_unproven": True}
        assert store.deployments()[0].options == {"accept_unproven": True}

    run(check)


def test_changed_options_are_stored_and_loaded_with(tmp_path: Path) -> None:
    """The running model is closed, the one in its place has the new options."""

    async def check() -> None:
        store = Store(tmp_path)
        house = House(store=store)
        await house.ready("a")
        wanted = Spec(id="a", source="a", pinned=True, options={"workers": 2})
        await house.all.change(wanted)
        await settled(house.all._find("a"))
        first, second = house.loader.runtimes["a"]
        assert (first.closed is None, second.closed) == (False, None)
        assert (house.states(), house.all.status("a").pinned) == ({"a": "ready"}, True)
        assert house.all.status("a").options == {"workers": 2}
        assert store.deployments() == [wanted]

    run(check)


def test_options_can_be_changed_while_a_model_is_downloaded() -> None:
    """The download is given up, and begins again with the new options."""

    async def check() -> None:
        house = House()
        held = house.loader.hold("download")
        await house.all.deploy(Spec(id="a", source="a"))
        await house.loader.began.wait()
        await house.all.change(Spec(id="a", source="a", options={"threads": 1}))
        held.set()
        await settled(house.all._find("a"))
        assert (house.states(), house.all.status("a").options) == ({"a": "ready"}, {"threads": 1})

    run(check)


def test_a_fault_of_ours_fails_one_deployment_only() -> None:
    """An unexpected exception is logged and told without its insides."""

    async def check() -> None:
        house = House()
        await house.ready("a")
        house.loader.fails["load"] = ZeroDivisionError("secret")
        await house.ready("b")
        assert house.states() == {"a": "ready", "b": "failed"}
        assert "secret" not in house.all.status("b").message

    run(check)


def test_requests_find_their_model() -> None:
    """A name, the default for none, and 404 for others."""

    async def check() -> None:
        house = House()
        await settled(await house.all.deploy(spec("d"), default=True))
        await house.ready("a")
        for name, expected in ((None, "d"), ("", "d"), ("d", "d"), ("a", "a")):
            async with house.all.use(name) as runtime:
                assert runtime.facts.id == expected
        with pytest.raises(ModelNotFound, match="'d', 'a'"):
            async with house.all.use("x"):
                pass

    run(check)


def test_any_model_means_the_default_one() -> None:
    """A client whose model name can't be set is served, where the server was told to."""

    async def test() -> None:
        house = House(any_model=True)
        await settled(await house.all.deploy(Spec(id="d", source="d"), default=True))
        await house.ready("a")
        for asked, served in (("rerank-v3.5", "d"), ("a", "a"), (None, "d")):
            async with house.all.use(asked) as runtime:
                assert runtime.facts.id == served
        assert house.all.name_of("rerank-v3.5") == "d"

    asyncio.run(test())


def test_managing_an_unknown_model_never_means_the_default_one() -> None:
    """`any_model` is for requests: a mistyped name stops nothing."""

    async def check() -> None:
        house = House(any_model=True)
        await settled(await house.all.deploy(spec("d"), default=True))
        with pytest.raises(ModelNotFound, match="'typo'"):
            house.all.status("typo")
        with pytest.raises(ModelNotFound, match="'typo'"):
            await house.all.restart("typo")
        with pytest.raises(ModelNotFound, match="'typo'"):
            await house.all.stop("typo")
        assert house.states() == {"d": "ready"}

    run(check)


def test_a_model_is_stopped_by_its_other_names() -> None:
    """It is gone under its id, too."""

    async def check() -> None:
        house = House()
        house.loader.manifest = find("bge-reranker-v2-m3")
        await house.ready("mine")
        await house.all.stop("BAAI/bge-reranker-v2-m3")
        assert house.states() == {}

    run(check)


def test_requests_may_use_a_model_s_other_names() -> None:
    """What the catalog calls a model finds it under any id, in any case."""

    async def check() -> None:
        house = House()
        house.loader.manifest = find("bge-reranker-v2-m3")
        await house.ready("mine")
        for name in ("mine", "bge-reranker-v2-m3", "baai/BGE-reranker-v2-m3"):
            async with house.all.use(name) as runtime:
                assert runtime.facts.id == "mine"

    run(check)


def test_requests_for_a_loading_model_are_told_to_come_back() -> None:
    """503 with Retry-After while it loads; with load_wait the request waits."""

    async def check() -> None:
        house = House(load_wait=PATIENCE)
        impatient = House()
        for one in (house, impatient):
            one.loader.hold("load")
            await one.all.deploy(spec("a"))
        with pytest.raises(ModelLoading) as raised:
            async with impatient.all.use("a"):
                pass
        house.loader.held["load"].set()
        async with house.all.use("a") as runtime:
            assert runtime.facts.id == "a"
        assert raised.value.retry_after
        impatient.loader.held["load"].set()
        await impatient.all.close()

    run(check)


def test_the_same_id_is_deployed_once() -> None:
    """A second deployment under an id is a conflict; so is a restart of a running one."""

    async def check() -> None:
        house = House()
        await house.ready("a")
        with pytest.raises(Conflict):
            await house.all.deploy(spec("a"))
        with pytest.raises(Conflict):
            await house.all.restart("a")

    run(check)


def test_stop_drains_frees_and_forgets() -> None:
    """The model is closed with the drain limit and its name is unknown afterwards."""

    async def check() -> None:
        house = House(drain_timeout=7.0)
        await house.ready("a")
        await house.all.stop("a")
        assert house.loader.runtimes["a"][0].closed == 7.0
        assert house.states() == {}
        with pytest.raises(ModelNotFound):
            await house.all.stop("a")

    run(check)


@pytest.mark.parametrize("step", ["download", "verify", "load"])
def test_stop_while_loading_leaves_nothing_behind(step: str) -> None:
    """A model that finishes loading after it was stopped is closed again."""

    async def check() -> None:
        house = House()
        gate = house.loader.hold(step)
        await house.all.deploy(spec("a"))
        await house.loader.reached[step].wait()
        stopping = asyncio.create_task(house.all.stop("a"))
        await asyncio.sleep(0)  # lets the stop begin
        gate.set()
        await stopping
        assert house.states() == {}
        assert all(runtime.closed == 0 for runtime in house.loader.runtimes.get("a", []))
        assert len(house.loader.runtimes.get("a", [])) == (step == "load")

    run(check)


def test_the_least_recently_used_model_makes_room() -> None:
    """With room for two, a third unloads the one used longest ago; it loads again on use."""

    async def check() -> None:
        house = House(memory_budget=2 * GIGABYTE, load_wait=PATIENCE)
        await house.ready("a", "b")
        house.clock.now += 1
        async with house.all.use("a"):
            pass
        await house.ready("c")
        assert house.states() == {"a": "ready", "b": "absent", "c": "ready"}
        assert "made room for c" in house.all.status("b").message
        house.clock.now += 1
        async with house.all.use("c"):
            pass
        async with house.all.use("b") as runtime:
            assert runtime.facts.id == "b"
        assert house.states() == {"a": "absent", "b": "ready", "c": "ready"}

    run(check)


def test_eviction_never_cuts_a_running_request_or_a_pin() -> None:
    """Models in use and pinned ones stay; the newcomer fails with the reason."""

    async def check() -> None:
        house = House(memory_budget=2 * GIGABYTE)
        await house.ready("pinned", pinned=True)
        await house.ready("used")
        async with house.all.use("used"):
            await house.ready("late")
            assert house.states() == {"pinned": "ready", "used": "ready", "late": "failed"}
            assert "memory_budget" in house.all.status("late").message
        await house.all.restart("late")
        await settled(house.all._find("late"))
        assert house.states() == {"pinned": "ready", "used": "absent", "late": "ready"}

    run(check)


def test_idle_models_are_unloaded_after_their_time() -> None:
    """Only what has had no request for idle_timeout goes, and never a pinned one."""

    async def check() -> None:
        house = House(idle_timeout=60.0)
        await house.ready("old", "used")
        await house.ready("pinned", pinned=True)
        house.clock.now += 50
        async with house.all.use("used"):
            pass
        house.clock.now += 15
        house.all.unload_idle()
        await settled(house.all._find("old"))
        assert house.states() == {"old": "absent", "used": "ready", "pinned": "ready"}

    run(check)


def test_close_ends_everything_and_keeps_what_was_deployed(tmp_path: Path) -> None:
    """After close nothing is taken; a new process deploys again what was there, pins and all."""
    store = Store(tmp_path)

    async def first() -> None:
        house = House(store)
        await settled(await house.all.deploy(spec("default"), default=True))
        await house.ready("a", pinned=True)
        await house.ready("b")
        await house.all.stop("b")
        await house.all.close()
        with pytest.raises(ShuttingDown):
            await house.all.deploy(spec("c"))
        with pytest.raises(ShuttingDown):
            async with house.all.use("a"):
                pass
        assert house.loader.runtimes["a"][0].closed is not None

    async def second() -> None:
        house = House(store)
        await house.all.restore()
        await settled(house.all._find("a"))
        assert house.states() == {"a": "ready"}
        assert house.all.status("a").pinned

    run(first)
    run(second)


class SlowStore(Store):
    """A store whose writes wait, as on a slow disk or behind a lock, until the test ends that."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.began, self.release = threading.Event(), threading.Event()
        self.error: StateError | None = None

    def keep(self, spec: Spec, created: float) -> None:
        self.began.set()
        assert self.release.wait(PATIENCE)
        if self.error:
            raise self.error
        super().keep(spec, created)


async def began_to_store(store: SlowStore) -> None:
    """Wait until a write is under way, with the loop free for others."""
    await run_apart("wait", store.began.wait, PATIENCE)


def test_storing_a_deployment_holds_nobody(tmp_path: Path) -> None:
    """Others are served meanwhile; the id is taken; a caller who goes away changes nothing."""
    store = SlowStore(tmp_path)

    async def check() -> None:
        house = House(store)
        await settled(await house.all.deploy(spec("default"), default=True))
        deploying = asyncio.create_task(house.all.deploy(spec("a")))
        await began_to_store(store)
        async with house.all.use("default") as runtime:
            assert runtime.facts.id == "default"
        with pytest.raises(Conflict, match="already deployed"):
            await house.all.deploy(spec("a"))
        (arriving,) = house.all._arriving
        deploying.cancel()
        store.release.set()
        await settled(await arriving)
        assert house.states() == {"default": "ready", "a": "ready"}
        assert store.deployments() == [spec("a")]

    run(check)


def test_a_deployment_that_cannot_be_stored_is_not_begun(tmp_path: Path) -> None:
    """The reason is the answer, and the id is free again."""
    store = SlowStore(tmp_path)
    store.error = StateUnavailable("locked", retry_after=1)
    store.release.set()

    async def check() -> None:
        house = House(store)
        with pytest.raises(StateUnavailable, match="locked"):
            await house.all.deploy(spec("a"))
        assert house.states() == {}
        store.error = None
        await settled(await house.all.deploy(spec("a")))
        assert house.states() == {"a": "ready"}

    run(check)


def test_a_deployment_stored_as_the_server_stops_is_refused_and_forgotten(tmp_path: Path) -> None:
    """Its caller is asked to repeat it, so it must not be there after the restart."""
    store = SlowStore(tmp_path)

    async def check() -> None:
        house = House(store)
        deploying = asyncio.create_task(house.all.deploy(spec("a")))
        await began_to_store(store)
        house.all.drain()
        store.release.set()
        with pytest.raises(ShuttingDown):
            await deploying
        assert store.deployments() == []

    run(check)


def test_a_deployment_that_cannot_be_forgotten_stays(tmp_path: Path) -> None:
    """It would come back at the next start, so it isn't stopped now either."""
    store = Store(tmp_path, busy_seconds=0)

    async def check() -> None:
        house = House(store)
        await house.ready("a")
        with closing(sqlite3.connect(tmp_path / STATE_FILE, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StateUnavailable):
                await house.all.stop("a")
        assert house.states() == {"a": "ready"}
        await house.all.stop("a")
        assert house.states() == {}

    run(check)


def test_a_restart_lifts_what_holds_a_model_back() -> None:
    """The loader is told before the model is begun."""

    async def check() -> None:
        house = House()
        house.loader.fails["download"] = ModelFailed("held back")
        await house.ready("a")
        assert house.states() == {"a": "failed"}
        house.loader.fails.clear()
        await house.all.restart("a")
        await settled(house.all._find("a"))
        assert (house.loader.allowed, house.states()) == (["a"], {"a": "ready"})

    run(check)


def test_a_stop_in_order_ends_trials_at_once_and_only_once() -> None:
    """Before the drain, which a slow load may hold up until the process is killed."""

    async def check() -> None:
        house = House()
        house.all.drain()
        assert house.loader.trials_ended == 1
        await house.all.close()
        assert house.loader.trials_ended == 1

    run(check)


def test_slow_listeners_miss_old_events_and_hold_nobody() -> None:
    """A listener that doesn't read gets the newest events when it does."""

    async def check() -> None:
        house = House()
        gate = house.loader.hold("download")
        deployed = await house.all.deploy(spec("a"))
        events = house.all.events()
        await anext(events)
        await house.loader.began.wait()
        assert house.loader.on_progress
        for number in range(1000):
            house.loader.on_progress(DownloadProgress(done=number, total=1000))
        gate.set()
        await settled(deployed)
        seen = [await anext(events) for _ in range(256)]
        await events.aclose()
        assert seen[-1].state == "ready"
        assert seen[0].progress is not None
        assert seen[0].progress.done > 500

    run(check)


def test_states_lead_only_where_they_may() -> None:
    """Every state can be left, and ready is reached through loading alone."""
    assert {state for state, after in TRANSITIONS.items() if "ready" in after} == {"loading"}
    assert all(TRANSITIONS.values())


actions = st.lists(
    st.tuples(
        st.sampled_from(["deploy", "stop", "use", "restart", "idle", "fail", "mend"]),
        st.sampled_from(["a", "b", "c"]),
    ),
    max_size=25,
)


@given(actions)
def test_whatever_happens_memory_is_kept_and_nothing_leaks(plan: list[tuple[str, str]]) -> None:
    """After any series of calls: within the budget, and every model but the ready ones closed."""

    async def check() -> None:
        house = House(memory_budget=2 * GIGABYTE, idle_timeout=5.0, load_wait=PATIENCE)
        for action, name in plan:
            house.clock.now += 2
            await _act(house, action, name)
            loaded = [status for status in house.all.statuses if status.state == "ready"]
            assert sum(status.memory_bytes for status in loaded) <= 2 * GIGABYTE
        open_now = {status.id for status in _ready(house)}
        opened = [one for group in house.loader.runtimes.values() for one in group]
        assert sum(one.closed is None for one in opened) == len(open_now)
        await house.all.close()
        assert all(one.closed is not None for one in opened)

    run(check)


def _ready(house: House) -> list[Status]:
    return [status for status in house.all.statuses if status.state == "ready"]


async def _act(house: House, action: str, name: str) -> None:
    try:
        if action == "deploy":
            await settled(await house.all.deploy(spec(name)))
        elif action == "stop":
            await house.all.stop(name)
        elif action == "restart":
            await house.all.restart(name)
            await settled(house.all._find(name))
        elif action == "use":
            async with house.all.use(name):
                pass
        elif action == "idle":
            house.clock.now += 10
            house.all.unload_idle()
            await asyncio.gather(*(settled(one) for one in house.all._all.values() if one.task))
        elif action == "fail":
            house.loader.fails["load"] = DownloadError("no")
        else:
            house.loader.fails.clear()
    except (Conflict, ModelNotFound, ModelFailed, ModelLoading):
        pass
