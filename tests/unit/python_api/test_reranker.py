"""The Python API: ranking in this process, from threads, loops and forked children."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import rerankd
from rerankd import Reranker
from rerankd.errors import (
    ClosedReranker,
    DeadlineExceeded,
    InvalidRequest,
    ModelFileError,
    PairTooLong,
    RerankdError,
    SettingsError,
)
from rerankd.python_api import reranker as api
from rerankd.python_api.requests import RankOptions, request_of

from support.fakes import PATIENCE, Gate
from support.hub_standin import HubStandin, listening
from support.places import ROOT
from support.serving import FakeEngine

pytestmark = pytest.mark.slow

QUERY = "What is a panda?"
TEXTS = ("hi", "the giant panda is a bear", "it is a bear")


@pytest.fixture(scope="module")
def reranker() -> Iterator[Reranker]:
    """The embedded model."""
    with Reranker(workers=1) as found:
        yield found


def over(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Reranker:
    """Return a Reranker over a fake engine, which scores a document by its length."""
    real = api.build
    monkeypatch.setattr(api, "build", lambda own, **how: real(own, engine.open, **how))
    return Reranker(**settings)


def in_a_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own; it must end by itself, and in time."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "app"), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )


def test_documents_come_back_best_first(reranker: Reranker) -> None:
    """Each with its place in the input, its score and its text."""
    ranking = reranker.rank(QUERY, TEXTS)

    assert [one.index for one in ranking] == [1, 2, 0]
    assert [one.text for one in ranking] == [TEXTS[1], TEXTS[2], TEXTS[0]]
    assert sorted((one.score for one in ranking), reverse=True) == [one.score for one in ranking]
    assert all(0 <= one.score <= 1 for one in ranking)
    assert (len(ranking), ranking[0].index, len(ranking[:2])) == (3, 1, 2)
    assert "(1, 0.9" in repr(ranking)
    assert ranking.result.model == "rerank-mini-en"
    assert ranking.result.prompt_tokens > 0


def test_mappings_keep_what_they_carry(reranker: Reranker) -> None:
    """A document's other fields come back with it."""
    documents = [{"text": text, "id": f"d{number}"} for number, text in enumerate(TEXTS)]

    best = reranker.rank(QUERY, documents, top_n=1)

    assert [one.document for one in best] == [documents[1]]


def test_documents_may_be_any_iterable(reranker: Reranker) -> None:
    """A generator is read once."""
    assert reranker.rank(QUERY, (text for text in TEXTS))[0].text == TEXTS[1]


def test_no_documents_are_an_empty_ranking(reranker: Reranker) -> None:
    """As a search that found nothing has."""
    assert list(reranker.rank(QUERY, [])) == []
    assert list(asyncio.run(reranker.arank(QUERY, []))) == []
    assert reranker.scores([]) == []


def test_raw_scores_are_logits(reranker: Reranker) -> None:
    """They have the order of the probabilities, and are not between 0 and 1."""
    plain, raw = reranker.rank(QUERY, TEXTS), reranker.rank(QUERY, TEXTS, raw_scores=True)

    assert [one.index for one in plain] == [one.index for one in raw]
    assert raw[-1].score < 0
    assert raw.result.score_scale == "logit"


def test_a_threshold_drops_what_is_below_it(reranker: Reranker) -> None:
    """How many is said with the result."""
    whole = reranker.rank(QUERY, TEXTS)
    kept = reranker.rank(QUERY, TEXTS, min_score=whole[1].score)

    assert [one.index for one in kept] == [1, 2]
    assert kept.result.below_min_score == 1


def test_what_is_scored_by_the_deadline_may_be_enough() -> None:
    """The option goes with the request to the service, which knows what to do with it."""
    options: RankOptions = {"timeout": 1.5, "on_timeout": "partial", "min_score": 0.5}
    asked = request_of("q", ["a"], options)

    assert (asked.timeout_ms, asked.on_timeout, asked.min_score) == (1500, "partial", 0.5)
    assert request_of("q", ["a"], {}).on_timeout is None
    with pytest.raises(InvalidRequest, match='on_timeout must be "error" or "partial"'):
        request_of("q", ["a"], {"on_timeout": "maybe"})  # type: ignore[typeddict-item]


def test_pairs_are_scored_in_their_order(reranker: Reranker) -> None:
    """Pairs of two queries, mixed, have the scores that each query's ranking gives."""
    other = "What is a bank?"
    pairs = [(QUERY, TEXTS[0]), (other, TEXTS[1]), (QUERY, TEXTS[1]), (other, TEXTS[0])]
    expected = {
        (query, one.text): one.score
        for query in (QUERY, other)
        for one in reranker.rank(query, TEXTS)
    }

    assert reranker.scores(pairs) == [expected[pair] for pair in pairs]
    assert asyncio.run(reranker.ascores(pairs)) == [expected[pair] for pair in pairs]


def test_passages_come_with_their_places(reranker: Reranker) -> None:
    text = " ".join(["nothing of note."] * 200 + ["The giant panda is a bear."])

    (only,) = reranker.rank(QUERY, [text], overflow="chunk", return_passages=True)

    assert "panda" in text[only.passages[0].start : only.passages[0].end]


@pytest.mark.parametrize(
    ("query", "documents", "options", "param"),
    [
        (QUERY, [b"bytes"], {}, "documents"),
        (QUERY, [{"id": 1}], {}, "documents"),
        (3, ["a"], {}, "query"),
        (3, [], {}, "query"),
        (QUERY, "one text", {}, "documents"),
        (QUERY, {"text": "one"}, {}, "documents"),
        (QUERY, ["a"], {"top_n": 0}, "top_n"),
    ],
)
def test_what_is_no_text_is_refused(
    reranker: Reranker, query: Any, documents: Any, options: Any, param: str
) -> None:
    """The error names what is wrong."""
    with pytest.raises(InvalidRequest) as refused:
        reranker.rank(query, documents, **options)

    assert refused.value.param == param


def test_unknown_options_are_refused(reranker: Reranker) -> None:
    """A typing error doesn't pass silently."""
    with pytest.raises(TypeError, match="top_k"):
        reranker.rank(QUERY, TEXTS, top_k=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="top_k"):
        reranker.rank(QUERY, [], top_k=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="top_n"):
        reranker.scores([(QUERY, "a")], top_n=3)  # type: ignore[call-arg]


def test_errors_are_rerankds_own(reranker: Reranker) -> None:
    """Too long with `overflow` "error", and not done in time."""
    with pytest.raises(PairTooLong):
        reranker.rank(QUERY, ["panda " * 5000], overflow="error")
    with pytest.raises(DeadlineExceeded):
        reranker.rank(QUERY, ["never scored before"], timeout=0)


def test_settings_are_serves_own() -> None:
    """A wrong name is answered with the right one, a wrong value with what it may be."""
    with pytest.raises(SettingsError, match="did you mean workers"):
        Reranker(worker=1)
    with pytest.raises(SettingsError, match="workers = -1"):
        Reranker(workers=-1)


def test_a_file_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        Reranker("missing.gguf")


def test_the_environment_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What configures a server doesn't reach into a program."""
    monkeypatch.setenv("RERANKD_MODEL", "no-such-model")
    monkeypatch.setenv("RERANKD_MAX_DOCUMENTS", "1")
    with over(FakeEngine(), monkeypatch) as found:
        assert len(found.rank("q", ["a", "b"])) == 2


def test_progress_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts up to all documents, in the thread that asked."""
    seen: list[tuple[int, int]] = []
    threads: set[int] = set()

    def note(done: int, total: int) -> None:
        seen.append((done, total))
        threads.add(threading.get_ident())

    with over(FakeEngine(), monkeypatch) as found:
        found.rank("q", [f"text {number}" for number in range(20)], progress=note)
        assert seen[-1] == (20, 20)
        assert threads == {threading.get_ident()}
        found.scores([("q", "a"), ("p", "b")], progress=note)
        assert seen[-1] == (2, 2)
        asyncio.run(found.arank("q", ["new"], progress=note))
        found.rank("q", ["another"], progress=True)


def test_an_error_of_the_callers_progress_ends_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It reaches the caller, and the next request is served."""

    def broken(_done: int, _total: int) -> None:
        raise LookupError("mine")

    with over(FakeEngine(), monkeypatch) as found:
        with pytest.raises(LookupError, match="mine"):
            found.rank("q", ["a", "b"], progress=broken)
        with pytest.raises(LookupError, match="mine"):
            asyncio.run(found.arank("q", ["c", "d"], progress=broken))
        assert len(found.rank("q", ["a", "b"])) == 2


def test_it_works_inside_a_running_loop(reranker: Reranker) -> None:
    """As in a notebook, where a loop runs in the main thread already."""

    async def cell() -> int:
        return reranker.rank(QUERY, TEXTS)[0].index

    assert asyncio.run(cell()) == 1


def test_many_threads_and_loops_share_it(reranker: Reranker) -> None:
    def ask(number: int) -> list[int]:
        texts = (*TEXTS, str(number))
        found = reranker.rank(QUERY, texts) if number % 2 else asyncio.run(several(texts))
        return [one.index for one in found][:2]

    async def several(texts: tuple[str, ...]) -> Any:
        return (await asyncio.gather(*(reranker.arank(QUERY, texts) for _ in range(3))))[0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(16))) == [[1, 2]] * 16


def test_a_cancelled_request_gives_the_engine_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task ends at once, and the next request is served."""
    gate = Gate()
    engine = FakeEngine(gate=gate)

    async def case(found: Reranker) -> None:
        asked = asyncio.create_task(found.arank("q", ["a", "b"]))
        await asyncio.to_thread(gate.await_step)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        gate.open()
        gate.let()
        assert len(await found.arank("q", ["c"])) == 1

    with over(engine, monkeypatch) as found:
        asyncio.run(case(found))


def test_closing_twice_is_harmless_and_using_it_then_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = FakeEngine()
    found = over(engine, monkeypatch)
    found.close()
    found.close()

    assert engine.closed
    with pytest.raises(ClosedReranker, match="closed"):
        found.rank("q", ["a"])
    with pytest.raises(ClosedReranker):
        found.rank("q", [])


def test_it_closes_at_the_end_of_an_async_block(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()

    async def block() -> float:
        async with over(engine, monkeypatch) as found:
            return (await found.arank("q", ["one two"], raw_scores=True))[0].score

    assert asyncio.run(block()) == -4.0
    assert engine.closed


def test_it_is_no_value_to_be_pickled(reranker: Reranker) -> None:
    with pytest.raises(TypeError, match="in each process"):
        pickle.dumps(reranker)


def test_logging_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No level and no handler is changed."""
    loggers = [logging.getLogger(name) for name in ("", "rerankd")]
    before = [(one.level, tuple(one.handlers)) for one in loggers]

    with over(FakeEngine(), monkeypatch) as found:
        found.rank("q", ["a"])

    assert [(one.level, tuple(one.handlers)) for one in loggers] == before


def test_a_program_may_forget_to_close() -> None:
    """It ends by itself, with 0 and without a word."""
    done = in_a_process(
        "from rerankd import Reranker; print(Reranker().rank('panda', ['hi', 'a panda'])[0].index)"
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_a_program_may_end_with_an_open_reranker() -> None:
    """It is still referred to when Python ends, as a script's global is, and closes quietly."""
    done = in_a_process(
        "from rerankd import Reranker\n"
        "reranker = Reranker()\n"
        "print(reranker.rank('panda', ['hi', 'a panda'])[0].index)"
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_a_forked_child_is_told() -> None:
    """A child neither hangs nor frees what is its parent's; the parent goes on."""
    done = in_a_process(
        """
import os
from rerankd import Reranker
from rerankd.errors import ClosedReranker
reranker = Reranker()
child = os.fork()
if child == 0:
    try:
        reranker.rank("panda", ["a"])
    except ClosedReranker as error:
        print(str(error), flush=True)
    reranker.close()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
print(reranker.rank("panda", ["hi", "a panda"])[0].index)
"""
    )

    assert done.returncode == 0, done.stderr
    said, status, best = done.stdout.splitlines()
    assert "forked" in said
    assert (status, best) == ("7", "1")


def test_ctrl_c_ends_a_request_and_not_the_reranker() -> None:
    """KeyboardInterrupt comes out of `rank`; what comes after it is served."""
    done = in_a_process(
        """
import os, signal, threading
from rerankd import Reranker
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
texts = [f"{n} " + "the panda is a bear " * 60 for n in range(2000)]
with Reranker(workers=1) as reranker:
    sent = []
    def interrupt(done, total):
        if not sent:
            sent.append(done)
            signal.raise_signal(signal.SIGINT)
    try:
        reranker.rank("panda", texts, progress=interrupt)
    except KeyboardInterrupt:
        print("interrupted", sent[0] < 2000)
    print(reranker.rank("panda", ["hi", "a panda"])[0].index)
"""
    )

    assert done.stdout.split() == ["interrupted", "True", "1"], done.stderr


def test_ctrl_c_ends_a_download_and_says_nothing_else(tmp_path: Path) -> None:
    """What ran in the background has ended before KeyboardInterrupt comes out."""
    hub = HubStandin()
    hub.files = {"owner/slow-GGUF:slow-Q8_0.gguf": bytes(1 << 20)}
    hub.piece, hub.stalls = 1 << 16, [1 << 19]
    with listening(hub) as address:
        done = in_a_process(
            """
import os, signal, threading
from rerankd import Reranker
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
def interrupt(done, total):
    signal.raise_signal(signal.SIGINT)
try:
    Reranker("hf:owner/slow-GGUF:slow-Q8_0.gguf", progress=interrupt)
except KeyboardInterrupt:
    print("interrupted", [one.name for one in threading.enumerate() if one.name == "reranker"])
""",
            HF_ENDPOINT=address,
            HF_HOME=str(tmp_path),
        )
        hub.released.set()

    assert (done.stdout, done.stderr, done.returncode) == ("interrupted []\n", "", 0)


def test_importing_the_package_stays_cheap() -> None:
    """The version is there without the engine; the names of the API load it."""
    done = in_a_process(
        "import sys, rerankd; print(rerankd.__version__, 'llama_cpp' in sys.modules)"
    )

    assert done.stdout.split() == [rerankd.__version__, "False"]


def test_what_is_not_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="Rerank'"):
        _ = rerankd.Rerank  # type: ignore[attr-defined]


def test_errors_can_be_caught_together(reranker: Reranker) -> None:
    with pytest.raises(RerankdError):
        reranker.rank(QUERY, [None])  # type: ignore[list-item]


def test_a_local_file_is_served(tiny_bert: Path) -> None:
    """By its path, tried in a child process first."""
    with Reranker(str(tiny_bert), workers=1, accept_unproven=True) as found:
        assert len(found.rank(QUERY, TEXTS)) == 3
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
