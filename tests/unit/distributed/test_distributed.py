"""The parts of `rerankd.distributed` that need no Ray; `just test-ray` tests the rest."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tomllib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from rerankd.cli import main
from rerankd.distributed import require, shards
from rerankd.distributed.autoscaling import TOKENS, TokenPolicy
from rerankd.distributed.calls import ForwardedRequest, Part, answer
from rerankd.distributed.ingress import ATTEMPTS, Ingress
from rerankd.distributed.ray_errors import first_line, reason_in
from rerankd.distributed.scoring import PairScores, score_pairs
from rerankd.distributed.shards import PairFile, RunManifest
from rerankd.domain import RankRequest
from rerankd.errors import InvalidRequest, ModelFailed, SettingsError, StateError
from rerankd.http.application import create_app
from rerankd.service import unlimited
from rerankd.settings import Settings

from support.fakes import PATIENCE
from support.places import ROOT
from support.serving import FakeEngine, app_of, service_of

# Calls: a request as a value


def collect(application: Any, call: ForwardedRequest) -> list[Part]:
    async def all_parts() -> list[Part]:
        return [part async for part in answer(application, call)]

    return asyncio.run(all_parts())


def post(path: str, body: Any, **headers: str) -> ForwardedRequest:
    named = {"content-type": "application/json", "host": "127.0.0.1", **headers}
    return ForwardedRequest(
        method="POST",
        path=path,
        headers=tuple((name.encode(), value.encode()) for name, value in named.items()),
        client=("127.0.0.1", 1),
        body=json.dumps(body).encode(),
    )


def test_a_call_gets_the_whole_answer_in_one_part() -> None:
    """A request as a value gets what a client of the application gets."""
    service = service_of()

    (part,) = collect(app_of(service), post("/v1/rerank", {"query": "a", "documents": ["b"]}))

    assert part.status == 200
    assert not part.more
    assert json.loads(part.body)["results"][0]["index"] == 0
    assert (b"content-type", b"application/json") in part.headers


def test_a_stream_comes_in_parts() -> None:
    """An answer that is sent in pieces stays in pieces, the first with status and headers."""
    service = service_of()
    call = post(
        "/v1/rerank", {"query": "a", "documents": ["b", "c"]}, accept="application/x-ndjson"
    )

    found = collect(app_of(service), call)

    assert found[0].status == 200
    assert [part.status for part in found[1:]] == [0] * (len(found) - 1)
    assert found[0].more
    assert not found[-1].more
    assert len(b"".join(part.body for part in found).splitlines()) >= 2


def test_who_stops_taking_parts_ends_the_application() -> None:
    """An abandoned answer reaches the application as a client that disconnected."""
    told: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        try:
            told.append((await receive())["type"])
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    async def leave_early() -> None:
        parts = answer(application, ForwardedRequest(method="GET", path="/"))
        await anext(parts)
        await parts.aclose()

    asyncio.run(leave_early())

    assert told in (["http.disconnect"], ["cancelled"])


def test_an_application_s_fault_is_raised() -> None:
    """An application that breaks without an answer is no empty answer."""

    async def application(*_: Any) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        collect(application, ForwardedRequest(method="GET", path="/"))


# The entrance


class Lost(Exception):
    """What a stand-in for Ray raises when a replica died."""


ANSWER = (Part(status=200, headers=((b"x", b"y"), (b"x-request-id", b"1")), body=b"done"),)


def outcomes_of(*outcomes: Sequence[Part | type[Exception]]) -> tuple[Any, list[ForwardedRequest]]:
    """Return what is asked in place of replicas, each call the next outcome, and the calls."""
    calls: list[ForwardedRequest] = []
    waiting = list(outcomes)

    async def ask(call: ForwardedRequest) -> AsyncGenerator[Part, None]:
        calls.append(call)
        for one in waiting.pop(0) if len(waiting) > 1 else waiting[0]:
            if not isinstance(one, Part):
                raise one
            yield one

    return ask, calls


def enter(ask: Any, *messages: dict[str, Any], limit: int = 100) -> list[Any]:
    """Send a request to an entrance; return what it sent to the client."""
    sent: list[Any] = []
    arriving = list(messages or [{"type": "http.request", "body": b"{}"}])

    async def receive() -> Any:
        if arriving:
            return arriving.pop(0)
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    door = Ingress(ask, (Lost,), max_body_bytes=limit, read_timeout=PATIENCE, pause=0)
    scope = {"type": "http", "method": "POST", "path": "/rerank", "headers": [(b"a", b"b")]}
    asyncio.run(door(scope, receive, send))
    return sent


def test_an_entrance_forwards() -> None:
    """The replica gets the request, the client the answer; the id is left to Ray Serve's own."""
    ask, calls = outcomes_of(ANSWER)

    start, body = enter(
        ask,
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.request", "body": b"}"},
    )

    assert calls == [
        ForwardedRequest(method="POST", path="/rerank", headers=((b"a", b"b"),), body=b"{}")
    ]
    assert start == {"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]}
    assert body == {"type": "http.response.body", "body": b"done", "more_body": False}


@pytest.mark.parametrize("lost", range(ATTEMPTS))
def test_a_lost_replica_s_request_is_asked_again(lost: int) -> None:
    """Up to ATTEMPTS replicas are asked, with the very same request."""
    ask, calls = outcomes_of(*[[Lost]] * lost, ANSWER)

    sent = enter(ask)

    assert sent[0]["status"] == 200
    assert len(calls) == lost + 1
    assert set(map(repr, calls)) == {repr(calls[0])}


def test_a_replica_that_closes_is_not_the_answer() -> None:
    """503 of a replica that is being replaced goes to another replica, not to the client."""
    closing = (Part(status=503, headers=((b"connection", b"close"),), body=b"stopping"),)
    ask, calls = outcomes_of(closing, ANSWER)

    assert enter(ask)[0]["status"] == 200
    assert len(calls) == 2


def test_other_refusals_are_answers() -> None:
    """429 and a 503 for a model that loads go to the client at once."""
    for status in (429, 503):
        ask, calls = outcomes_of((Part(status=status),), ANSWER)

        assert enter(ask)[0]["status"] == status
        assert len(calls) == 1


def test_with_no_replica_left_the_client_is_told_to_try_later() -> None:
    """After the last attempt the answer is 503 with Retry-After."""
    ask, calls = outcomes_of([Lost])

    start, body = enter(ask)

    assert len(calls) == ATTEMPTS
    assert start["status"] == 503
    assert (b"retry-after", b"1") in start["headers"]
    assert json.loads(body["body"])["error"]["code"] == "unavailable"


def test_an_answer_that_has_begun_ends_with_its_replica() -> None:
    """What went out can't be taken back: the connection ends, nothing is asked twice."""
    ask, calls = outcomes_of([Part(status=200, body=b"half", more=True), Lost], ANSWER)

    with pytest.raises(Lost):
        enter(ask)

    assert len(calls) == 1


def test_a_fault_that_is_not_a_loss_is_not_asked_again() -> None:
    """An error of the request's own is raised at the first attempt."""
    ask, calls = outcomes_of([LookupError], ANSWER)

    with pytest.raises(LookupError):
        enter(ask)

    assert len(calls) == 1


def test_a_body_over_the_limit_goes_on_a_byte_too_long() -> None:
    """The entrance keeps no more than a byte over the limit, so that a replica refuses it."""
    ask, calls = outcomes_of(ANSWER)

    enter(ask, {"type": "http.request", "body": b"x" * 1000, "more_body": True}, limit=10)

    assert calls[0].body == b"x" * 11


def test_a_client_that_leaves_ends_the_asking() -> None:
    """A disconnect while a replica works closes the call to it."""
    closed: list[bool] = []
    begun = asyncio.Event()

    async def ask(call: ForwardedRequest) -> AsyncGenerator[Part, None]:
        del call
        try:
            begun.set()
            await asyncio.Event().wait()
            yield Part()
        finally:
            closed.append(True)

    async def talk() -> None:
        messages = [{"type": "http.request", "body": b""}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await begun.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            raise AssertionError(message)

        door = Ingress(ask, max_body_bytes=1, read_timeout=PATIENCE)
        await door({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)

    asyncio.run(talk())

    assert closed == [True]


def test_a_client_that_leaves_halfway_is_not_asked_for() -> None:
    """A body that never came to its end reaches no replica."""
    ask, calls = outcomes_of(ANSWER)
    half = {"type": "http.request", "body": b"x", "more_body": True}

    assert enter(ask, half, {"type": "http.disconnect"}) == []
    assert calls == []


def test_a_body_that_does_not_come_is_given_up() -> None:
    """After read_timeout the client gets 408."""
    ask, calls = outcomes_of(ANSWER)
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    door = Ingress(ask, max_body_bytes=1, read_timeout=0.01)
    asyncio.run(door({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send))

    assert sent[0]["status"] == 408
    assert calls == []


def test_an_entrance_lives_as_long_as_its_server() -> None:
    """The lifespan of ASGI is answered: start and end."""
    arriving = ["lifespan.startup", "lifespan.shutdown"]
    sent: list[str] = []

    async def receive() -> Any:
        return {"type": arriving.pop(0)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    ask, _ = outcomes_of(ANSWER)
    asyncio.run(Ingress(ask, max_body_bytes=1, read_timeout=1)({"type": "lifespan"}, receive, send))

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_replica_is_neither_managed_nor_measured() -> None:
    """What one of many replicas can't answer for all is refused, to this machine as well."""
    application = create_app(service_of(), replica=True)

    def status_of(method: str, path: str) -> int:
        headers = ((b"host", b"127.0.0.1"),)
        call = ForwardedRequest(method=method, path=path, headers=headers, client=("127.0.0.1", 1))
        return collect(application, call)[0].status

    assert status_of("GET", "/v1/deployments") == 403
    assert status_of("GET", "/v1/keys") == 403
    assert status_of("GET", "/metrics") == 404
    assert status_of("GET", "/v1/models") == 200


# Autoscaling


class Context(Struct):
    aggregated_metrics: dict[str, dict[str, float]] | None
    current_num_replicas: int = 3
    total_num_requests: float = 0


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [([0, 0], 1), ([1000], 1), ([1001], 2), ([500, 2600], 4), ([0.5, 0], 1)],
)
def test_replicas_follow_the_tokens(tokens: list[float], wanted: int) -> None:
    """As many as there are thousands of tokens in all replicas, and never none."""
    reported = {str(number): one for number, one in enumerate(tokens)}

    assert TokenPolicy(1000)(Context({TOKENS: reported})) == (wanted, {})


@pytest.mark.parametrize("metrics", [None, {}, {TOKENS: {}}, {"other": {"a": 1.0}}])
def test_nothing_reported_changes_nothing(metrics: dict[str, dict[str, float]] | None) -> None:
    """Before the first report the number stays."""
    assert TokenPolicy(1000)(Context(metrics))[0] == 3


# Parts


@given(
    ends=st.lists(st.integers(0, 300), max_size=5),
    step=st.integers(1, 70),
)
def test_parts_cover_every_row_once(ends: list[int], step: int) -> None:
    """Each row of each file lies in exactly one part; numbers and names are all different."""
    sources = [PairFile(f"{n}.parquet", "parquet", 1, 1, end, step) for n, end in enumerate(ends)]

    found = list(shards.shards_of(sources))

    rows = [(one.source, row) for one in found for row in range(one.start, one.end)]
    assert sorted(rows) == sorted((one.path, row) for one in sources for row in range(one.end))
    assert [one.number for one in found] == list(range(len(found)))
    assert len({one.name for one in found}) == len(found)


def test_files_of_a_folder_come_by_name(tmp_path: Path) -> None:
    """Folders give what is Parquet or JSONL in them; files give themselves."""
    for name in ("b.jsonl", "a.parquet", "c.ndjson", "note.txt"):
        (tmp_path / name).write_bytes(b"x")

    names = [path.name for path in shards.pair_files([tmp_path])]

    assert names == ["a.parquet", "b.jsonl", "c.ndjson"]
    assert shards.pair_files([tmp_path / "b.jsonl"]) == [(tmp_path / "b.jsonl").resolve()]


def test_what_can_t_be_pairs_is_refused(tmp_path: Path) -> None:
    """A missing path, an empty folder and a foreign format are named."""
    with pytest.raises(InvalidRequest, match="no such file"):
        shards.pair_files([tmp_path / "nowhere"])
    with pytest.raises(InvalidRequest, match="no files with pairs"):
        shards.pair_files([tmp_path])
    with pytest.raises(InvalidRequest, match=r"\.parquet, \.jsonl"):
        shards.form_of(Path("pairs.csv"))


def test_jsonl_is_cut_by_its_lines_length(tmp_path: Path) -> None:
    """A part of so many rows has the bytes that so many lines of this file take."""
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(b"x" * 49 + b"\n" + b"x" * 149 + b"\n")
    unbroken = tmp_path / "line.jsonl"
    unbroken.write_bytes(b"x" * 10)

    assert shards.describe_file(file, None, 10).step == 1000
    assert shards.describe_file(file, None, 10).end == 200
    assert shards.describe_file(unbroken, None, 2).step == 2 * shards.LINE_BYTES


SOURCE = PairFile("a.jsonl", "jsonl", 1, 1, 1, 1)
MANIFEST = RunManifest((SOURCE,), {"model": "a"})


def test_a_run_goes_on_only_where_it_is_the_same(tmp_path: Path) -> None:
    """The same manifest again is fine; other files or options are told, as is a foreign folder."""
    output = tmp_path / "scores"
    shards.begin_run(output, MANIFEST)
    shards.begin_run(output, MANIFEST)

    with pytest.raises(StateError, match="model was 'a' and is now 'b'"):
        shards.begin_run(output, RunManifest((SOURCE,), {"model": "b"}))
    with pytest.raises(StateError, match="the input files changed"):
        shards.begin_run(output, RunManifest((), {"model": "a"}))
    (output / shards.MANIFEST).write_bytes(b"{")
    with pytest.raises(StateError, match="cannot read"):
        shards.begin_run(output, MANIFEST)


def test_a_run_is_another_with_any_setting_that_scores_depend_on(tmp_path: Path) -> None:
    """What keeps scores apart in the cache keeps runs apart."""
    kept = RunManifest((SOURCE,), shards.score_options(Settings(kv_type="f16", flash_attn="on")))
    shards.begin_run(tmp_path / "scores", kept)

    for change in ({"kv_type": "q8_0"}, {"flash_attn": "off"}, {"accept_degraded": True}):
        other = RunManifest((SOURCE,), shards.score_options(Settings(**change)))  # type: ignore[arg-type]
        with pytest.raises(StateError, match=f"{next(iter(change))} was"):
            shards.begin_run(tmp_path / "scores", other)


def test_a_run_of_a_version_that_recorded_less_goes_on_with_the_defaults(tmp_path: Path) -> None:
    """An option that the kept manifest lacks had its default; another value is another run."""
    output = tmp_path / "scores"
    shards.begin_run(output, MANIFEST)
    more = RunManifest((SOURCE,), {"model": "a", "kv_type": "f16"})
    other = RunManifest((SOURCE,), {"model": "a", "kv_type": "q8_0"})

    shards.begin_run(output, more, {"kv_type": "f16"})
    with pytest.raises(StateError, match="kv_type was 'f16' and is now 'q8_0'"):
        shards.begin_run(output, other, {"kv_type": "f16"})


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    """Scores are not mixed with files that are there already."""
    (tmp_path / "thesis.txt").write_bytes(b"x")

    with pytest.raises(StateError, match="not empty"):
        shards.begin_run(tmp_path, MANIFEST)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_is_half_written_is_still_missing(tmp_path: Path) -> None:
    """Only a part whose own file is there counts as done."""
    source = PairFile("a.jsonl", "jsonl", 30, 1, 30, 10)
    first, second, third = shards.shards_of([source])
    (tmp_path / second.name).write_bytes(b"")
    (tmp_path / f".{third.name}.1-ab.half").write_bytes(b"")

    assert shards.missing_shards(tmp_path, shards.shards_of([source])) == [first, third]


# Scores of pairs

ASKING = RankRequest(query="", documents=(), raw_scores=True)


def scores_of(engine: FakeEngine, pairs: Sequence[tuple[object, object]]) -> list[PairScores]:
    service = service_of(engine, start=False)

    async def run() -> list[PairScores]:
        await service.start()
        try:
            return await score_pairs(service, ASKING, pairs)
        finally:
            await service.close()

    return asyncio.run(run())


def test_each_pair_has_its_own_score() -> None:
    """Pairs of one query are ranked together, and each gets what it gets alone."""
    pairs = [("q", "one"), ("other", "one"), ("q", "two words"), ("q", "one")]

    together = scores_of(FakeEngine(), pairs)

    assert all(one.score is not None and one.error is None for one in together)
    assert together[0] == together[3] != together[2]


def test_a_row_without_texts_has_an_error_in_its_place() -> None:
    """What is no text is told by its row; the others have their scores."""
    found = scores_of(FakeEngine(), [("q", "one"), (None, "one"), ("q", 7), ("q", "two")])

    assert [one.error for one in found] == [None, "invalid_request", "invalid_request", None]
    assert [one.score is None for one in found] == [False, True, True, False]


def test_only_the_document_to_blame_has_no_score() -> None:
    """A document on which the engine fails takes none of its query's others with it."""
    pairs = [("q", word) for word in ("aa", "bb", "poison", "dd", "nan")]

    found = scores_of(FakeEngine(), pairs)

    assert [one.error for one in found] == [None, None, "engine_failure", None, "engine_failure"]
    assert [one.score is None for one in found] == [False, False, True, False, True]


def test_bulk_work_has_no_limits() -> None:
    """What keeps a server's clients apart is out of the way."""
    own = unlimited(Settings(max_documents=1, request_timeout=3, cores=7))

    assert own.max_documents > 10**9
    assert own.request_timeout == 0
    assert own.cores == 7


# The command


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray there is one line that says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(SettingsError, match=r"pip install 'rerankd\[ray\]'"):
        require()


@pytest.mark.parametrize(
    "arguments",
    [
        ["ray", "serve"],
        ["ray", "status"],
        ["ray", "stop"],
        ["ray", "rank", ".", "--output", "x"],
        ["rank", "--ray", ".", "--output", "x"],
    ],
)
def test_every_command_names_the_missing_extra(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command that needs Ray ends in that line, and with 2."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    done = CliRunner().invoke(main, arguments)

    assert done.exit_code == 2
    assert done.stderr == "error: this needs the extra `ray`: pip install 'rerankd[ray]'\n"


def test_rank_with_ray_takes_pairs() -> None:
    """`rank --ray` has the options of `ray rank`; without, `rank` is what it was."""
    pairs = CliRunner().invoke(main, ["rank", "--ray", "--help"])
    plain = CliRunner().invoke(main, ["rank", "--help"])

    assert "--part-rows" in pairs.output
    assert "QUERY" in plain.output
    assert "--part-rows" not in plain.output


def test_the_ordinary_command_never_imports_ray() -> None:
    """Not even the module of `rerankd ray` imports what imports Ray."""
    code = (
        "import sys, rerankd.cli, rerankd.cli.serve, rerankd.cli.rank, rerankd.cli.ray;"
        "print([name for name in sys.modules if name.split('.')[0] in ('ray', 'pyarrow')])"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "[]"


def test_what_is_tested_is_what_the_extra_installs() -> None:
    """The lock of `just test-ray` is made from the extra's own line."""
    root = ROOT
    extras = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    lines = (root / "tests/integration/ray/requirements.in").read_text("utf-8").split()

    assert lines == extras["optional-dependencies"]["ray"]


# What Ray says of a failure


def test_the_reason_is_found_in_a_failed_actor_s_report() -> None:
    """Our own error's message is returned alone; without one, the last line is."""
    raised = ModelFailed("no such file")
    name = f"{type(raised).__module__}.{type(raised).__qualname__}"

    assert reason_in(f"Traceback\n  File\n{name}: {raised}\n\nmore") == "no such file"
    assert reason_in("first\nlast\n") == "last"
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
