"""`rerankd rank`: every format of input, what is kept of it, and a server's scores."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rerankd import cli
from rerankd.cli import rank_records, rank_scoring
from rerankd.cli.rank_input import read_documents
from rerankd.cli.rank_records import RankedFields
from rerankd.cli.rank_scoring import PROGRESS_DOCUMENTS, REQUEST_CHARACTERS, batches_of
from rerankd.errors import InvalidRequest, SettingsError

from support.fakes import LIMITS
from support.serving import FakeEngine, server_of, service_of
from support.two_embedded import ENGLISH, MANY, TwoEngines, install, service_of_two

LARGE = LIMITS.__class__(
    pair_tokens=512, step_tokens=512, step_rows=32, step_prefixes=8, cells=4096
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that scores quickly."""
    with server_of(service_of(FakeEngine(limits=LARGE))) as address:
        yield address


def rank(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(cli.main, ["rank", *arguments], input=stdin)


def rows(result: Result) -> list[dict[str, Any]]:
    """Return the output in the order of the input."""
    assert result.exit_code == 0, result.output
    return sorted(map(json.loads, result.stdout.splitlines()), key=lambda row: row["line"])


# formats

RECORDS = [
    {"id": "a7", "text": "the panda, a bear", "tags": ["x", 1]},
    {"id": 8, "text": "zwei\\n"},
]


@pytest.mark.parametrize("name", ["docs.jsonl", "docs.json", "docs.ndjson", "-"])
def test_json_keeps_all_fields(name: str, tmp_path: Path, url: str) -> None:
    """Ids stay what they are, whatever the file is called; standard input is recognised."""
    content = "\n".join(map(json.dumps, RECORDS))
    if name == "docs.json":
        content = json.dumps(RECORDS, indent=1)
    if name != "-":
        (tmp_path / name).write_text(content)
        name = str(tmp_path / name)

    found = rows(rank("panda", name, "--url", url, stdin=content))

    kept = [{key: row[key] for key in ("id", "text", "tags") if key in row} for row in found]
    assert kept == RECORDS
    assert [row["line"] for row in found] == [1, 2]


def test_an_array_on_standard_input_is_recognised(url: str) -> None:
    """Of texts too; a line of brackets that is no JSON is a line."""
    found = rows(rank("x", "--url", url, stdin='["a",\n "b"]'))
    assert [row["text"] for row in found] == ["a", "b"]
    (link,) = rows(rank("x", "--url", url, stdin="[panda](https://example.org)\n"))
    assert link["text"] == "[panda](https://example.org)"


@pytest.mark.parametrize(("ending", "mark"), [("csv", ","), ("tsv", "\t")])
def test_tables_with_a_header(ending: str, mark: str, tmp_path: Path, url: str) -> None:
    """A cell may hold separators and line ends; the line is the one where its row begins."""
    file = tmp_path / f"faq.{ending}"
    lines = [
        mark.join(("id", "answer", "by")),
        mark.join(("1", f'"a{mark} b\nc"', "me")),
        mark.join(("2", "d")),
    ]
    file.write_text("\n".join(lines))

    found = rows(rank("x", str(file), "--text-field", "answer", "--url", url))

    assert [(row["id"], row["text"], row["by"], row["line"]) for row in found] == [
        ("1", f"a{mark} b\nc", "me", 2),
        ("2", "d", "", 4),
    ]
    assert "answer" not in found[0]


def test_fields_of_our_names_are_kept_under_another(url: str) -> None:
    """Nothing of the input is lost."""
    record = {"body": "a panda", "text": "title", "rank": 9, "line": 4, "relevance_score": 0.1}
    (row,) = rows(rank("x", "--text-field", "body", "--url", url, stdin=json.dumps(record)))

    assert (row["text"], row["rank"], row["line"]) == ("a panda", 1, 1)
    assert (row["input_text"], row["input_rank"], row["input_line"]) == ("title", 9, 4)
    assert row["input_relevance_score"] == 0.1


class FakeTables(ModuleType):
    """Stands for the module that reads Parquet."""

    @staticmethod
    def rows_of_file(path: Path, column: str) -> Iterator[tuple[int, dict[str, Any]]]:
        yield 0, {"id": path.name, column: "a panda"}
        yield 1, {"id": 2, column: None}


def test_parquet_rows_are_documents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With their columns and their numbers; nulls are skipped."""
    monkeypatch.setattr(rank_records.importlib.util, "find_spec", lambda _name: object())
    monkeypatch.setitem(sys.modules, "rerankd.distributed.tables", FakeTables("tables"))

    read = read_documents([str(tmp_path / "docs.parquet")], "auto", RankedFields("body"))

    (one,) = read.documents
    assert (one.text, one.line, one.fields) == ("a panda", 1, {"id": "docs.parquet"})
    assert read.skipped == "1 document without text"


def test_parquet_without_the_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rank_records.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match=r"pip install 'rerankd\[ray\]'"):
        read_documents([str(tmp_path / "docs.parquet")], "auto", RankedFields())


# what is refused, and what is skipped


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"text": "a"}\n\n{"body": "b"}', ":3: no field 'text'; the fields are body"),
        ("a.jsonl", '{"body": "b"}', ":1: no field 'text'; the fields are body: name one with"),
        ("a.txt", '{"body": "b"}', ":1: no field 'text'"),
        ("a.jsonl", '{"text": 5}', ":1: the field 'text' is 5, not a text"),
        ("a.jsonl", "5", ":1: the document is 5, not a text"),
        ("a.json", '[{"text": "a"}, 7]', ":2: the document is 7, not a text"),
        ("a.json", '[{"text": "a"}', ":1: "),
        ("a.csv", "id,body\n1,x", ":1: no field 'text'; the fields are id, body"),
        ("a.csv", "text\na\nb,c", ":3: 2 columns, but the header has 1"),
        ("a.csv", 'text\n"a" b', ":2: "),
        ("a.csv", "", ":1: no field 'text'; the fields are none"),
    ],
)
def test_malformed_input_is_named_with_its_line(
    name: str, content: str, said: str, tmp_path: Path
) -> None:
    """Nothing is ranked then."""
    file = tmp_path / name
    file.write_text(content)
    result = rank("x", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{file}{said}" in result.stderr


@pytest.mark.parametrize("content", ["", "\n \n", '{"text": " "}\n{"text": null}\n'])
def test_no_documents_are_an_error(content: str) -> None:
    """A pipeline that found nothing to rank should not look as if it had worked."""
    result = rank("x", stdin=content)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no documents in <stdin>" in result.stderr


@pytest.mark.parametrize("query", ["", "  \n"])
def test_an_empty_query_is_an_error(query: str) -> None:
    result = rank(query, stdin="a\n")
    assert (result.exit_code, result.stderr) == (2, "error: the query is empty\n")


def test_what_was_skipped_is_counted(url: str) -> None:
    """Blank lines, and records without a text."""
    lines = '{"text": "a"}\n\n \n{"text": ""}\n{"text": "b"}\n'
    result = rank("x", "--url", url, stdin=lines)
    assert len(rows(result)) == 2
    assert result.stderr == "skipped 2 blank lines and 1 document without text\n"


# scores of a server


def test_a_server_scores_without_a_model_here(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In requests of bounded size; the ranking is over all of them."""
    monkeypatch.setattr(rank_scoring, "build", None)
    texts = [f"document {number}" for number in range(PROGRESS_DOCUMENTS + 3)]
    found = rows(rank("x", "--url", url, "--raw-scores", stdin="\n".join(texts)))
    by_rank = sorted(found, key=lambda row: row["rank"])
    scores = [row["relevance_score"] for row in by_rank]

    assert [row["text"] for row in found] == texts
    assert scores == sorted(scores, reverse=True)


def test_requests_are_bounded_in_number_and_size() -> None:
    """A single longer text goes alone."""
    texts = ["a"] * (PROGRESS_DOCUMENTS + 1) + ["b" * REQUEST_CHARACTERS, "c"]
    assert [len(batch) for batch in batches_of(texts)] == [PROGRESS_DOCUMENTS, 1, 1, 1]
    assert [text for batch in batches_of(texts) for text in batch] == texts
    assert list(batches_of([])) == []


def test_a_server_s_refusal_is_shown(url: str) -> None:
    """With its own message."""
    result = rank("x", "--url", url, "--model", "other", stdin="a\n")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: 404: ")


def test_no_server_is_one_line() -> None:
    result = rank("x", "--url", "http://127.0.0.1:9", stdin="a\n")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_settings_of_a_model_are_the_server_s(url: str) -> None:
    """They would be ignored."""
    result = rank("x", "--url", url, "--threads", "2", stdin="a\n")
    assert result.exit_code == 2
    assert "--threads can't be used with --url" in result.stderr


@pytest.mark.parametrize("answer", [b"{}", b'{"results": []}', b"no JSON"])
def test_what_is_no_reply_is_an_error(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_scoring, "ask_server", lambda *_: answer)
    result = rank("x", "--url", "http://127.0.0.1:9", stdin="a\n")
    assert result.exit_code == 2
    assert "the server's answer" in result.stderr


# chunks and passages

LONG = "The valley has a mill. " * 40 + "\n\nThe giant panda is a bear.\n\n" + "Rain fell. " * 40


def test_passages_and_chunks_are_shown() -> None:
    """The best part of a long text is in the output, and how many chunks there were."""
    options = ("--overflow", "chunk", "--chunk-tokens", "64", "--passages")
    result = rank("what is a panda?", "--format", "json", *options, stdin=json.dumps([LONG]))
    (row,) = rows(result)

    best = row["passages"][0]
    assert "giant panda" in best["text"]
    assert best["text"] == LONG[best["start"] : best["end"]]
    assert best["relevance_score"] == row["relevance_score"]
    assert "1 documents were scored in" in result.stderr


def test_what_was_cut_is_said() -> None:
    """In the output, and in a line for a person."""
    result = rank("panda", stdin=f"{'valley ' * 3000}\nshort\n")
    found = rows(result)
    assert [row.get("truncated") for row in found] == [True, None]
    assert "1 of 2 documents were cut to what the model reads" in result.stderr


def test_a_bad_input_is_not_loaded_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The input is read before a model is."""
    monkeypatch.setattr(rank_scoring, "build", None)
    with pytest.raises(InvalidRequest, match="no documents"):
        read_documents([], "auto", RankedFields())
    assert rank("x", stdin="").exit_code == 2


# languages

GERMAN = "Der Panda ist ein Bär, der in den Wäldern lebt."
PREAMBLE = "The panda is a bear that lives in the woods."


def test_the_model_of_the_texts_language_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is decided once for all documents, here and at a server, and said once."""
    install(tmp_path, monkeypatch)
    lines = "\n".join([PREAMBLE] * 5 + [GERMAN] * PROGRESS_DOCUMENTS)
    engines = TwoEngines()
    monkeypatch.setattr(rank_scoring, "build", lambda _own, **how: service_of_two(engines, **how))

    here = rank("panda", "--model", ENGLISH, stdin=lines)
    with server_of(service_of_two(TwoEngines())) as address:
        there = rank("panda", "--url", address, stdin=lines)

    for result in (here, there):
        assert 0 == result.exit_code
        assert 1 == result.stderr.count(f"ranked by {MANY}: the documents are in German (de)")
        assert "warning" not in result.stderr
    assert rows(here) == rows(there)


def test_a_language_that_the_model_lacks_is_warned_of_once(url: str) -> None:
    """However many batches there are."""
    result = rank("panda", "--url", url, stdin="\n".join([GERMAN] * 2 * PROGRESS_DOCUMENTS))

    assert 1 == result.stderr.count("warning: the documents are in German (de)")
