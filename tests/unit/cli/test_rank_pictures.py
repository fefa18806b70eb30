"""`rerankd rank` with pictures: files, fields of records, queries, and what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from rerankd import cli
from rerankd.cli import rank_scoring
from rerankd.cli.rank_input import InputDocument
from rerankd.cli.rank_output import ranked_lines, show_ranking
from rerankd.cli.rank_scoring import REQUEST_CHARACTERS, ScoredText, batches_of
from rerankd.domain import Picture, Pictured, RankedDocument, RankedResult, RankRequest, Timings
from rerankd.errors import BadPicture

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
GIF = b"GIF89a rest"
URI = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"


class FakeService:
    """Keeps what is ranked; a document's score is its place from the end of the request."""

    def __init__(self) -> None:
        self.asked: list[RankRequest] = []
        self.refuses: RerankdErrorOrNone = None

    async def start(self) -> None: ...

    def choose(self, requests: Sequence[RankRequest]) -> None:
        del requests

    async def rank(self, request: RankRequest, choice: object) -> RankedResult:
        del choice
        self.asked.append(request)
        if self.refuses:
            raise self.refuses
        count = len(request.documents)
        ordered = [RankedDocument(at, (at + 1) / count) for at in reversed(range(count))]
        sizes = ((-1, 32, 32), (0, 64, 96))
        return msgspec.structs.replace(RESULT, results=tuple(ordered), picture_sizes=sizes)

    async def close(self) -> None: ...

    @property
    def documents(self) -> list[Any]:
        return [one for request in self.asked for one in request.documents]


RerankdErrorOrNone = BadPicture | None
RESULT = RankedResult(
    model="sees",
    results=(),
    score_scale="model",
    device="cpu",
    prompt_tokens=1,
    truncated=(),
    query_truncated=False,
    query_tokens=1,
    chunks=0,
    cached=0,
    timings=Timings(0.0, 0.0, 0.0, 0.0),
)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """What ranks in this process, in place of a model."""
    found = FakeService()
    monkeypatch.setattr(rank_scoring, "build", lambda *_, **__: found)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two pictures and a text, which is the current one."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(PIXEL)
    (tmp_path / "photos" / "dog.dat").write_bytes(GIF)
    (tmp_path / "notes.txt").write_text("first line\nsecond line\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rank(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(cli.main, ["rank", *arguments], input=stdin)


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.usefixtures("folder")
def test_files_are_ranked_by_what_they_are(service: FakeService) -> None:
    """A picture by its content, whatever its name; beside it, a text file is one document."""
    found = rows(rank("a cat", "photos/cat.png", "photos/dog.dat", "notes.txt"))

    cat, dog, notes = service.documents
    assert (cat, dog) == (Pictured((Picture(PIXEL),)), Pictured((Picture(GIF),)))
    assert notes == "first line\nsecond line\n"
    assert [row.get("picture_sizes") for row in found] == [None, None, [[64, 96]]]
    assert [(row["file"], row["line"], row.get("image")) for row in found] == [
        ("notes.txt", 1, None),
        ("photos/dog.dat", 1, "photos/dog.dat"),
        ("photos/cat.png", 1, "photos/cat.png"),
    ]


@pytest.mark.usefixtures("folder")
def test_a_text_file_alone_is_lines_as_ever(service: FakeService) -> None:
    """And with a named format, also beside pictures; `text` makes one document of it."""
    rank("a cat", "notes.txt")
    rank("a cat", "photos/cat.png", "notes.txt", "--format", "lines")
    rank("a cat", "notes.txt", "--format", "text")

    alone, beside, whole = (one.documents for one in service.asked)
    assert alone == ("first line", "second line")
    assert beside[1:] == alone
    assert whole == ("first line\nsecond line\n",)


def test_a_picture_comes_in_by_a_pipe(service: FakeService) -> None:
    assert rows(rank("a cat", stdin=PIXEL))[0]["file"] == "<stdin>"
    assert service.documents == [Pictured((Picture(PIXEL),))]


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
def test_records_name_their_pictures(service: FakeService, folder: Path, ending: str) -> None:
    """By paths relative to their file, or in data: URIs, with a text or without."""
    records = [
        {"id": "1", "image": "cat.png", "text": "a cat"},
        {"id": "2", "image": URI, "text": ""},
        {"id": "3", "image": "", "text": "no picture"},
    ]
    lines = [json.dumps(one) for one in records]
    table = [
        "id,image,text",
        *(",".join(f'"{value}"' for value in one.values()) for one in records),
    ]
    content = {"jsonl": "\n".join(lines), "json": json.dumps(records), "csv": "\n".join(table)}
    (folder / "photos" / f"list.{ending}").write_text(content[ending])

    found = rows(rank("a cat", f"photos/list.{ending}"))

    assert service.documents == [
        Pictured((Picture(PIXEL), "a cat")),
        Pictured((Picture(PIXEL),)),
        "no picture",
    ]
    assert {(row["id"], row["text"], row["image"]) for row in found} == {
        tuple(one[name] for name in ("id", "text", "image")) for one in records
    }


@pytest.mark.usefixtures("folder")
def test_a_record_may_be_a_picture_without_a_field_for_text(service: FakeService) -> None:
    rank("a cat", "--image-field", "scan", stdin='{"scan": "photos/cat.png"}\n')
    assert service.documents == [Pictured((Picture(PIXEL),))]


def test_addresses_are_pictures_only_where_their_field_is_named(service: FakeService) -> None:
    """Records that were ranked by their texts still are."""
    line = json.dumps({"text": "a shoe", "image": "https://shop.example/1.jpg"})
    rank("a shoe", stdin=line)
    rank("a shoe", "--image-field", "image", stdin=line)
    rank("a shoe", "--image-field", "", stdin='{"text": "a shoe", "image": "gone.png"}')

    by_text, by_picture, ignored = service.documents
    assert by_text == ignored == "a shoe"
    assert by_picture == Pictured((Picture(address="https://shop.example/1.jpg"), "a shoe"))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("query", "expected"),
    [("", (Picture(PIXEL),)), ("in red", (Picture(PIXEL), "in red"))],
)
def test_a_picture_asks(service: FakeService, query: str, expected: tuple[object, ...]) -> None:
    """Alone, or beside a text."""
    rows(rank(query, "--query-image", "photos/cat.png", stdin="a\n"))
    assert service.asked[0].query == Pictured(expected)


@pytest.mark.usefixtures("folder")
def test_a_file_in_the_query_s_place_is_noticed(service: FakeService) -> None:
    """Who forgets the query would rank all files but one for that one's name."""
    result = rank("notes.txt", "photos/cat.png", "--query-image", "photos/cat.png")
    assert (result.exit_code, service.asked) == (2, [])
    assert "QUERY comes before FILES, and notes.txt is a file" in result.stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("page.pdf", b"%PDF-1.7", "page.pdf is PDF, which is not read; PNG, JPEG, WebP and GIF"),
        ("cat.png", b"", "cat.png is empty"),
        ("l.jsonl", b'{"image": "no.png"}', "l.jsonl:1: no.png: No such file or directory; --im"),
        ("l.jsonl", b'{"image": "l.jsonl"}', "l.jsonl:1: l.jsonl is not a picture"),
        ("l.jsonl", b'{"image": 7}', "l.jsonl:1: a picture is a path, a data: URI or an address"),
        (
            "l.jsonl",
            b'{"image": "data:image/png,x"}',
            "l.jsonl:1: the picture has a data: URI that",
        ),
        ("l.jsonl", b'{"image": "data:;base64,x"}', "l.jsonl:1: the picture is not valid base64"),
        ("l.jsonl", b'{"image": "data:;base64,eA=="}', "l.jsonl:1: the picture is not a picture"),
        ("l.jsonl", b'{"id": 1, "image": null}', "l.jsonl:1: no field 'text'; the fields are id"),
    ],
)
def test_what_is_no_picture_is_named(
    service: FakeService, folder: Path, name: str, content: bytes, said: str
) -> None:
    """With its file and line, before any model is loaded."""
    (folder / name).write_bytes(content)
    result = rank("a cat", name)
    assert (result.exit_code, result.stdout, service.asked) == (2, "", [])
    assert f"error: {said}" in result.stderr


@pytest.mark.usefixtures("folder")
def test_what_the_service_refuses_is_named_by_its_file(service: FakeService) -> None:
    """A picture may turn out to be damaged only when it is decoded."""
    service.refuses = BadPicture(
        "the picture in documents[1].image is truncated", param="documents[1].image"
    )
    damaged = rank("a cat", "notes.txt", "photos/cat.png")
    service.refuses = BadPicture("the picture is truncated", param="query")
    asked = rank("", "--query-image", "photos/cat.png", stdin="a\n")

    assert damaged.stderr == "error: photos/cat.png: the picture is truncated\n"
    assert asked.stderr == "error: photos/cat.png: the picture is truncated\n"


def answer_of(body: dict[str, Any]) -> bytes:
    count = len(body["documents"])
    results = [{"index": at, "relevance_score": 1 / (at + 1)} for at in range(count)]
    sizes = [{"index": None, "width": 32, "height": 32}, {"index": 0, "width": 64, "height": 96}]
    reply = {"model": "sees", "results": results, "meta": {"pictures": sizes}}
    return json.dumps(reply).encode()


def test_a_server_gets_pictures_as_content_parts(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """In data: URIs of their own type, above their text; plain texts stay strings."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(
        rank_scoring, "ask_server", lambda *given: (asked.append(given[3]), answer_of(given[3]))[1]
    )
    (folder / "list.jsonl").write_text('{"image": "photos/dog.dat", "text": "a dog"}\n')

    found = rows(
        rank("", "list.jsonl", "notes.txt", "--query-image", URI, "--url", "http://127.0.0.1:9")
    )

    (body,) = asked
    image = {"type": "image_url", "image_url": {"url": URI}}
    dog, *lines = body["documents"]
    assert body["query"] == [image]
    assert [part["type"] for part in dog] == ["image_url", "text"]
    assert dog[0]["image_url"]["url"].startswith("data:image/gif;base64,")
    assert lines == ["first line", "second line"]
    assert found[0]["image"] == "photos/dog.dat"
    assert found[0]["picture_sizes"] == [[64, 96]]


def test_requests_with_pictures_are_bounded_by_their_bytes() -> None:
    """As those with long texts are."""
    large = Pictured((Picture(bytes(REQUEST_CHARACTERS)),))
    assert [len(batch) for batch in batches_of([large, "a", large, large])] == [1, 1, 1, 1]


def test_tables_show_the_names_of_files() -> None:
    """A picture has no text to be known by; of a data: URI, its kind is enough."""
    documents = [
        InputDocument("", "photos/cat.png", 1, {}, Picture(PIXEL), "photos/cat.png", is_file=True),
        InputDocument("a dog", "list.jsonl", 7, {}, Picture(PIXEL), URI),
    ]
    console = Console(width=100, record=True)
    show_ranking(
        ranked_lines(documents, [ScoredText(0.9, sizes=((64, 96),)), ScoredText(0.1)], top_n=0),
        console,
    )
    text = console.export_text()

    assert "photos/cat.png:1" not in text
    assert "photos/cat.png (64 × 96)" in " ".join(text.split())
    assert text.count("photos/cat.png") == 2
    assert "data:image/png;base64 a dog" in text
    assert "list.jsonl:7" in text
