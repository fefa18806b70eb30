"""The log: its lines for people and programs, what they are about, and what they never hold."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd import logs
from rerankd.cli.plain_log import PlainFormatter
from rerankd.logs import DEPLOYMENT, REQUEST, Notes, RecentLines, about_deployment, recent_lines
from rerankd.telemetry import log_format
from rerankd.telemetry.log_format import formatter
from rerankd.terminal import visible

from support.fakes import Gate
from support.serving import FakeEngine, app_of, client_of, rerank, service_of

MARK = "classified"
KEY = f"{MARK}-key-of-32-characters-and-more"

ours = logging.getLogger("rerankd.made")


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Give the loggers back as they were."""
    recent_lines()
    names = ("", "rerankd", "uvicorn")
    before = {name: logging.getLogger(name) for name in names}
    levels = {name: one.level for name, one in before.items()}
    handlers = {name: list(one.handlers) for name, one in before.items()}
    yield
    for name, one in before.items():
        one.setLevel(levels[name])
        one.handlers[:] = handlers[name]


def written(log: Literal["auto", "human", "json"], level: str = "info") -> io.StringIO:
    """Return where the log goes from now on."""
    stream = io.StringIO()
    log_format.configure_server_logging(level, log, stream)
    return stream


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return JSON lines as what they hold."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# Lines


def test_a_file_gets_json_and_a_terminal_gets_lines_for_people() -> None:
    """`auto` looks at where it writes."""
    file, terminal, plain = io.StringIO(), Terminal(), Terminal()
    for stream, colours in ((file, True), (terminal, True), (plain, False)):
        log_format.configure_server_logging("info", "auto", stream, colours=colours)
        ours.info("%s is ready", "it", extra={"deployment": "it"})

    assert json.loads(file.getvalue())["message"] == "it is ready"
    assert "it is ready" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()
    assert plain.getvalue().endswith("[info     ] it is ready [rerankd.made]\n")


@pytest.mark.parametrize("log", ["human", "json"])
def test_no_line_steers_a_terminal_or_forges_another(log: Literal["human", "json"]) -> None:
    """Whatever names of models, paths and errors hold; JSON means what it was."""
    evil = "\x1b]0;owned\x07\x9b31m\u202eback\nfake line\r over"
    stream = written(log)
    ours.warning("model %s", evil, extra={"model": evil, "deployment": evil})
    try:
        raise RuntimeError(evil)  # noqa: TRY301
    except RuntimeError:
        ours.exception("failed: %s", evil)

    text = stream.getvalue()
    assert visible(text, lines=True) == text
    assert "\nfake line" not in text
    if log == "json":
        assert lines_of(stream)[0]["message"] == f"model {evil}"


def test_the_log_of_commands_steers_no_terminal() -> None:
    """Its formatter is the standard library's, over the same function."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainFormatter())
    logs.install_handler(handler, "info")
    ours.warning("model %s", "\x1b[31mred\x9b1m\nfake line")

    assert visible(stream.getvalue(), lines=True) == stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_json_lines_begin_with_what_every_line_has() -> None:
    """Time, level, logger and message come first and always; the time is in UTC."""
    stream = written("json")
    ours.warning("bad %d", 7)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")

    first, second = lines_of(stream)
    assert list(first) == list(second) == ["time", "level", "logger", "message"]
    assert first | {"time": ""} == {
        "time": "",
        "level": "warning",
        "logger": "rerankd.made",
        "message": "bad 7",
    }
    assert first["time"].endswith("Z")
    assert second["logger"] == "uvicorn.error"


@pytest.mark.parametrize("log", ["human", "json"])
def test_lines_below_the_level_are_not_written(log: Literal["human", "json"]) -> None:
    """The level counts for our loggers; libraries write warnings at most."""
    stream = written(log, "warning")
    ours.info("calm")
    logging.getLogger("httpx").info("calm")
    ours.error("loud")

    assert "calm" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_lines_put_aside_are_written_at_debug_only() -> None:
    """What is only kept for a deployment doesn't clutter the log."""
    calm, full = io.StringIO(), io.StringIO()
    for level, stream in (("info", calm), ("debug", full)):
        log_format.configure_server_logging(level, "human", stream)
        ours.info("llama.cpp says", extra=logs.ASIDE)

    assert not calm.getvalue()
    assert "llama.cpp says" in full.getvalue()


def test_a_request_s_lines_carry_its_id_and_deployment() -> None:
    """Context follows tasks and the threads they wait for, and ends with the block."""
    stream = written("json")

    async def work() -> None:
        REQUEST.set(Notes(request_id="r1"))
        with about_deployment("m"):
            await asyncio.to_thread(ours.info, "inside")
        ours.info("after")

    asyncio.run(work())
    ours.info("elsewhere")

    inside, after, elsewhere = lines_of(stream)
    assert (inside["request_id"], inside["deployment"]) == ("r1", "m")
    assert after["request_id"] == "r1"
    assert "deployment" not in after
    assert not {"request_id", "deployment"} & set(elsewhere)
    assert not DEPLOYMENT.get()


@pytest.mark.parametrize("human", [True, False])
def test_tracebacks_name_the_place_but_quote_no_value(human: bool) -> None:
    """An exception's type and lines are told, its causes' too, but not what it choked on."""
    try:
        try:
            int(MARK)
        except ValueError as error:
            raise OSError(28, "no space left") from error
    except OSError as error:
        record = ours.makeRecord("rerankd", logging.ERROR, "", 0, "bad", (), (OSError, error, None))
        text = formatter(human=human).format(record)

    assert "ValueError" in text
    assert "no space left" in text
    assert "test_logs.py" in text
    assert text.count(MARK) == 0


@given(st.text(), st.text())
def test_every_text_makes_one_json_line(message: str, model: str) -> None:
    """Line breaks and control characters of a message or field can't begin another line."""
    record = ours.makeRecord("rerankd", logging.INFO, "", 0, "%s", (message,), None)
    record.model = model

    text = formatter(human=False).format(record)

    assert len(text.splitlines()) <= 1 or "\n" not in text
    found = json.loads(text)
    assert (found["message"], found["model"]) == (message, model)


# The access line


def test_access_line_tells_what_was_done() -> None:
    """Method, path, status, time, id, model, documents and tokens: each a field."""
    stream = written("json")
    with client_of(service_of()) as client:
        client.post(
            "/v1/rerank",
            json={"query": "q", "documents": ["one", "one two"]},
            headers={"X-Request-Id": "mine"},
        )

    line = next(one for one in lines_of(stream) if one.get("path") == "/v1/rerank")
    assert line["message"].startswith("POST /v1/rerank 200 ")
    told = ("method", "status", "route", "model", "documents", "request_id")
    assert [line[name] for name in told] == [
        *("POST", 200, "/v1/rerank", "rerank-mini-en", 2, "mine")
    ]
    assert line["tokens"] > 0
    assert line["ms"] >= 0
    assert "error" not in line


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"query": "q", "documents": []}, "missing_documents"),
        ({"query": "q", "documents": ["poison"]}, "engine_failure"),
        ({"query": "q", "documents": ["a"], "model": "x"}, "model_not_found"),
    ],
)
def test_access_line_tells_the_error_s_code(body: dict[str, Any], code: str) -> None:
    """Whether it was refused at the edge or failed below."""
    stream = written("json")
    with client_of(service_of()) as client:
        rerank(client, **body)

    line = next(one for one in lines_of(stream) if one.get("path") == "/v1/rerank")
    assert line["error"] == code


def test_probes_that_went_well_are_told_at_debug_only() -> None:
    """A probe every few seconds doesn't fill the log; one that failed is in it."""
    stream = written("json")
    with client_of(service_of()) as client:
        for path in ("/health", "/metrics", "/static/nothing", "/v1/models"):
            client.get(path)

    assert [one["path"] for one in lines_of(stream) if "path" in one] == [
        *("/static/nothing", "/v1/models")
    ]


def test_access_line_tells_the_key_s_id() -> None:
    """Of every request with a valid key, ranked or not; nothing of one that is not valid."""
    stream = written("json")
    with client_of(service_of(api_keys=(KEY,))) as client:
        for key in (KEY, "wrong"):
            client.get("/v1/models", headers={"X-API-Key": key})
        rerank_keyed = {"query": "q", "documents": ["a"]}
        client.post("/v1/rerank", json=rerank_keyed, headers={"X-API-Key": KEY})

    lines = [one for one in lines_of(stream) if "path" in one]
    assert [line.get("caller", "") != "" for line in lines] == [True, False, True]
    assert lines[0]["caller"] == lines[2]["caller"]
    assert lines[1]["error"] == "invalid_api_key"


def test_access_line_of_an_unknown_path_has_no_route() -> None:
    """Paths that nobody serves have a code, and are cleaned and cut."""
    stream = written("json")
    with client_of(service_of()) as client:
        client.get("/a%0Ab" + "x" * 300)

    line = next(one for one in lines_of(stream) if one.get("status") == 404)
    assert (line["route"], line["error"]) == ("", "not_found")
    assert line["path"].startswith("/a?bxxx")
    assert len(line["path"]) == 200


# What never is in the log


def refused(client: Any) -> None:
    """Send marked texts down every path that ends in an error, and marked keys."""
    post = client.post
    for body in (
        {"query": MARK, "documents": [MARK]},
        {"query": MARK, "documents": [f"{MARK} poison"]},
        {"query": MARK, "documents": [f"{MARK} nan"]},
        {"query": MARK, "documents": [MARK], "model": MARK},
        {"query": MARK, "documents": [1, MARK]},
        {"query": MARK, "documents": []},
        {"query": MARK, "documents": [MARK] * 20},
        {"query": MARK, "documents": [f"{MARK} " * 500]},
        {"query": f"{MARK} " * 99, "documents": [f"{MARK} " * 99], "truncate": False},
        {"query": MARK, "documents": [MARK], "instruction": MARK, "top_n": MARK},
        {"query": MARK, MARK: MARK},
    ):
        post("/v1/rerank", json=body)
    post("/v1/rerank", content=f'{{"query": "{MARK}'.encode())
    post("/v1/rerank", content=f'"{MARK}'.encode() + b"\xff")
    post("/v1/rerank", content=MARK.encode() * 10_000)
    post("/v1/rerank?api_key=" + KEY, json={"query": MARK, "documents": [MARK]})
    client.get(f"/v1/usage?window={MARK}")
    client.put("/v1/rerank", json={"query": MARK})
    for header in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}):
        client.get("/v1/models", headers=header)
        client.post("/v1/deployments", json={"model": "x", "id": "x", MARK: 1}, headers=header)


@pytest.mark.parametrize("log", ["human", "json"])
@pytest.mark.parametrize("keys", [(), ("another",)])
def test_no_text_or_key_is_ever_logged(
    log: Literal["human", "json"], keys: tuple[str, ...]
) -> None:
    """Texts and keys that went through success and every error stay out, at level debug, too."""
    stream = written(log, "debug")
    service = service_of(
        api_keys=keys, max_documents=10, max_request_tokens=400, max_body_bytes=20_000
    )
    with client_of(service) as client:
        if keys:
            client.headers["Authorization"] = "Bearer another"
        refused(client)

    text = stream.getvalue()
    for status in (200, 400, 404, 405, 413, 422, 500):
        assert f"/v1/rerank {status} " in text, status
    assert MARK not in text


def test_a_fault_of_ours_logs_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even an exception that quotes the document is logged without it."""
    stream = written("json", "debug")
    service = service_of()

    async def broken(*_: object, **__: object) -> None:
        raise KeyError(MARK)

    monkeypatch.setattr(service, "rank_many", broken)
    with client_of(service) as client:
        assert rerank(client, query=MARK, documents=[MARK]).status_code == 500

    (fault,) = (line for line in lines_of(stream) if "exception" in line)
    assert "KeyError" in fault["exception"]
    assert MARK not in stream.getvalue()


def test_a_client_that_left_is_told_as_such() -> None:
    """A request nobody waits for any more is logged with 499 and its code."""
    stream = written("json")
    gate = Gate()
    service = service_of(FakeEngine(gate=gate))
    left = threading.Event()

    async def ask() -> None:
        sent = iter([{"type": "http.request", "body": b'{"query":"q","documents":["a"]}'}])

        async def receive() -> dict[str, Any]:
            message = next(sent, None)
            if message is None:
                await asyncio.to_thread(gate.await_step)
                left.set()
            return message or {"type": "http.disconnect"}

        async def send(_message: Any) -> None:
            pass

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/rerank",
            "raw_path": b"/v1/rerank",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 1),
            "http_version": "1.1",
            "scheme": "http",
        }
        await app_of(service)(scope, receive, send)  # type: ignore[arg-type]
        gate.open()
        await service.close()

    asyncio.run(ask())

    assert left.is_set()
    line = next(one for one in lines_of(stream) if one.get("path") == "/v1/rerank")
    assert (line["status"], line["error"]) == (499, "client_closed")


# What is kept of deployments


def made(kept: RecentLines) -> Callable[..., None]:
    """Return what logs a line about a deployment to a memory of lines."""

    def log(text: str, deployment: str = "m", level: int = logging.INFO) -> None:
        record = ours.makeRecord("rerankd", level, "", 0, text, (), None)
        record.deployment = deployment
        if level >= kept.level:
            kept.handle(record)

    return log


@given(st.lists(st.sampled_from("abcdefg"), max_size=60))
def test_only_the_last_lines_of_the_last_deployments_are_kept(names: list[str]) -> None:
    """Memory is bounded both ways, and each deployment's lines stay in order."""
    kept = RecentLines(lines=3, deployments=4)
    log = made(kept)
    for number, name in enumerate(names):
        log(str(number), name)

    lasting = list(dict.fromkeys(reversed(names)))[:4]
    for name in "abcdefg":
        wanted = [str(number) for number, other in enumerate(names) if other == name]
        found = [line.message for line in kept.of(name)]
        if name in lasting:
            assert found[-1:] == wanted[-1:]
            assert found == wanted[len(wanted) - len(found) :]
            assert len(found) <= 3
        else:
            assert found == []


def test_kept_lines_have_time_level_and_the_kind_of_exception() -> None:
    """Lines about nothing are not kept; of an exception only its kind is told."""
    kept = RecentLines()
    try:
        {}[MARK]
    except KeyError as error:
        record = ours.makeRecord("rerankd", 40, "", 0, "bad", (), (KeyError, error, None))
    kept.handle(record)
    record.deployment = "m"
    kept.handle(record)

    (line,) = kept.of("m")
    assert (line.level, line.message) == ("error", "bad (KeyError)")
    assert abs(line.time - record.created) < 0.001


def test_state_changes_are_told_whatever_is_written() -> None:
    """GET /v1/deployments/{id}/logs has a deployment's states, also with log_level error."""
    written("human", "error")
    with client_of(service_of(model_id="kept-for-the-log", api_keys=("k",))) as client:
        client.headers["X-API-Key"] = "k"
        ours.info("llama.cpp says", extra={"deployment": "kept-for-the-log", **logs.ASIDE})
        found = client.get("/v1/deployments/kept-for-the-log/logs").json()

    assert found["object"] == "list"
    assert [line["message"].split(":")[0] for line in found["data"]] == [
        *(
            f"kept-for-the-log {state}"
            for state in ("downloading", "verifying", "loading", "ready")
        ),
        "llama.cpp says",
    ]
    assert {line["level"] for line in found["data"]} == {"info"}


def test_logs_of_a_deployment_that_is_not_there_are_not_found() -> None:
    """404 with its code; other origins are refused as for all management."""
    with client_of(service_of(api_keys=("k",))) as client:
        client.headers["X-API-Key"] = "k"
        assert client.get("/v1/deployments/none/logs").status_code == 404
        foreign = {"Origin": "http://elsewhere.example"}
        refusal = client.get("/v1/deployments/rerank-mini-en/logs", headers=foreign)
        assert refusal.status_code == 403
