"""Pictures in requests, in every form that clients send, and what replies say of them."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerankd.dialects import dashscope, long_texts, mixedbread, native, vllm, zeroentropy
from rerankd.dialects.dialect import Body, Dialect, RequestContext
from rerankd.dialects.table import DIALECTS
from rerankd.dialects.texts import content_of
from rerankd.domain import (
    Content,
    Picture,
    Pictured,
    RankedDocument,
    RankedResult,
    RankRequest,
    Timings,
)
from rerankd.errors import BadPicture, InvalidRequest, PictureNotFetched, RequestError
from rerankd.pictures import sources
from rerankd.pictures.sources import from_base64, picture_of

from support.pictures import plain

WHERE = "documents[3]"
FILE = plain(colour="red")
BASE64 = base64.b64encode(FILE).decode()
URI = f"data:image/png;base64,{BASE64}"
ADDRESS = "https://example.org/a.png?token=s3cret"
SENT, FETCHED = Picture(FILE), Picture(address=ADDRESS)


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        # Jina's m0 and DashScope.
        ({"image": BASE64}, (SENT,)),
        ({"image": URI}, (SENT,)),
        ({"image": ADDRESS}, (FETCHED,)),
        ({"text": "a bear", "image": URI}, (SENT, "a bear")),
        ({"title": "Panda", "text": "a bear", "image": URI}, (SENT, "Panda\na bear")),
        ({"title": "Panda", "image": URI}, (SENT, "Panda")),
        ({"text": "", "image": URI}, (SENT,)),
        ({"text": None, "image": [URI, ADDRESS]}, (SENT, FETCHED)),
        # vLLM, Dify, OpenAI.
        ({"type": "image_url", "image_url": {"url": URI, "detail": "low"}}, (SENT,)),
        ({"content": [{"type": "image_url", "image_url": {"url": ADDRESS}}]}, (FETCHED,)),
        (
            [{"type": "input_image", "image_url": ADDRESS}, {"type": "text", "text": "a"}],
            (FETCHED, "a"),
        ),
        (["a", {"type": "image", "image": URI}, "b", "c"], ("a", SENT, "b", "c")),
        ({"content": {"type": "image_url", "image_url": URI}}, (SENT,)),
        ({"image": URI, "content": [{"text": "a"}]}, (SENT, "a")),
        # GPUStack, and what replies have.
        (
            {"text": "a", "multi_modal": {"type": "image_url", "image_url": {"url": URI}}},
            (SENT, "a"),
        ),
        ({"multi_modal": [{"image": URI}, {"content": [{"image": ADDRESS}]}]}, (SENT, FETCHED)),
        ({"text": "a", "multi_modal": {"image": BASE64}}, (SENT, "a")),
        # MessagePack.
        ({"image": FILE}, (SENT,)),
    ],
)
def test_every_form_of_a_picture_is_read(document: object, parts: tuple[object, ...]) -> None:
    """Parts keep their order; an object's pictures come before its text."""
    assert content_of(document, where=WHERE) == Pictured(parts)


def test_rank_fields_leave_pictures_out() -> None:
    """Documents of which fields are named are ranked by those fields alone."""
    document = {"text": "a bear", "name": "Lamp", "image": "lamp.png"}

    assert content_of(document, rank_fields=["name"], where=WHERE) == "name: Lamp"
    assert content_of(document, rank_fields=["text"], where=WHERE) == "a bear"


def test_rank_fields_name_no_picture() -> None:
    """Base64 is never ranked as a text."""
    for value in (URI, [URI]):
        with pytest.raises(InvalidRequest, match=r"documents\[3\].image is a picture"):
            content_of({"text": "a", "image": value}, rank_fields=["image"], where=WHERE)


@pytest.mark.parametrize(
    ("document", "kind", "said"),
    [
        ({"image": "panda.png"}, BadPicture, f"the picture in {WHERE}.image is not valid base64"),
        ({"image": "AAA=A"}, BadPicture, "is not valid base64"),
        ({"image": "AAAAA"}, BadPicture, "is not valid base64"),
        ({"image": "ünicode="}, BadPicture, "is not valid base64"),
        ({"image": "data:image/png,%89PNG"}, BadPicture, "a data: URI that is not in base64"),
        ({"image": "data:image/png;base64,*"}, BadPicture, "is not valid base64"),
        ({"image": "http://example.org/a.png"}, PictureNotFetched, "with http:, which is never"),
        ({"image": "file:///etc/passwd"}, PictureNotFetched, "with file:, which is never fetched"),
        ({"image": "https://x/" + 9000 * "a"}, PictureNotFetched, "more than 8192 characters"),
        ({"image_url": {"url": "oss://x"}}, PictureNotFetched, f"{WHERE}.image_url.url has"),
        ({"type": "image_url"}, InvalidRequest, f"{WHERE} has no picture"),
        ({"type": "image", "image": ""}, InvalidRequest, "has no picture"),
        ({"image": 5}, InvalidRequest, f"{WHERE}.image has no picture"),
        ({"image": {"detail": "low"}}, InvalidRequest, "has no picture"),
        ({"content": [{"image_url": [[5]]}]}, InvalidRequest, "content[0].image_url[0][0]"),
        ({"text": "a", "multi_modal": {"text": "b"}}, InvalidRequest, "multi_modal has no picture"),
    ],
)
def test_a_broken_picture_is_refused_in_its_place(
    document: object, kind: type[RequestError], said: str
) -> None:
    """What is wrong with a picture's text is said with its place, and without that text."""
    with pytest.raises(kind) as caught:
        content_of(document, where=WHERE)

    assert said in caught.value.message
    assert str(caught.value.param).startswith(WHERE)
    assert len(caught.value.message) < 200


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(data=st.binary(max_size=200), line=st.integers(1, 90), url_safe=st.booleans())
def test_base64_is_read_in_slices_as_in_one(data: bytes, line: int, *, url_safe: bool) -> None:
    """Line breaks, both alphabets and missing padding make no difference, nor where slices end."""
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    text = encode(data).decode()
    broken = "\r\n".join(text[at : at + line] for at in range(0, len(text), line))
    before, sources.BASE64_SLICE = sources.BASE64_SLICE, 13

    try:
        assert from_base64(text) == from_base64(broken) == data
        assert from_base64(text.rstrip("=")) == data
    finally:
        sources.BASE64_SLICE = before


def test_a_picture_knows_no_name() -> None:
    """The media type of a data: URI, and the case of its scheme, say nothing."""
    assert picture_of(f"DATA:image/svg+xml;charset=utf-8;BASE64,{BASE64}") == SENT
    assert picture_of("HTTPS://example.org/x").address == "HTTPS://example.org/x"


def read(dialect: Dialect, body: dict[str, Any]) -> RankRequest:
    """Return the domain's request of a body."""
    parsed = dialect.read(Body(msgspec.json.encode(body)), context_of(dialect))
    return parsed.requests[0]


def context_of(dialect: Dialect) -> RequestContext:
    return RequestContext(id="x", path=dialect.paths[0])


@pytest.mark.parametrize("dialect", tuple(DIALECTS), ids=lambda one: one.name)
def test_every_dialect_takes_pictures_as_query_and_documents(dialect: Dialect) -> None:
    """A picture may be the query and stand among the documents, in any dialect."""
    body = with_pictures(dialect.example)

    request = read(dialect, body)

    assert request.query == Pictured((SENT,))
    assert request.documents[:2] == ("hi", Pictured((FETCHED, "a bear")))


def with_pictures(example: Any) -> Any:
    """Return a dialect's example with pictures in place of its query and documents."""
    found = {}
    for name, value in example.items():
        if name in {"query", "text_1"}:
            found[name] = {"image": URI}
        elif name == "queries":
            found[name] = [{"image": URI}]
        elif isinstance(value, list):
            found[name] = ["hi", {"text": "a bear", "image": ADDRESS}]
        else:
            found[name] = with_pictures(value) if isinstance(value, dict) else value
    return found


def test_vllms_older_clients_list_documents_under_content() -> None:
    """An object in place of the list holds a document in each part of its content."""
    part = {"type": "image_url", "image_url": {"url": URI}}
    request = read(native.DIALECT, {"query": "q", "documents": {"content": [part, part]}})
    single = read(native.DIALECT, {"query": "q", "documents": {"text": "a", "image": URI}})

    assert request.documents == (Pictured((SENT,)),) * 2
    assert single.documents == (Pictured((SENT, "a")),)


def test_pairs_of_one_picture_are_one_request() -> None:
    """Equal pictures as queries are one query, whatever form they have."""
    both = [{"image": URI}, {"content": [{"type": "image_url", "image_url": BASE64}]}]
    body = {"text_1": both, "text_2": ["a", "b"]}

    parsed = vllm.DIALECT.read(Body(msgspec.json.encode(body)), context_of(vllm.DIALECT))

    assert [one.documents for one in parsed.requests] == [("a", "b")]


def result(documents: tuple[Content, ...], **changed: Any) -> RankedResult:
    """Return a ranking of documents in their order, 1280 tokens of it pictures'."""
    found = RankedResult(
        model="m",
        results=tuple(RankedDocument(index, 1.0) for index in range(len(documents))),
        score_scale="model",
        device="cpu",
        prompt_tokens=1300,
        truncated=(),
        query_truncated=False,
        query_tokens=1,
        chunks=1,
        cached=0,
        timings=Timings(0.0, 0.0, 0.0, 0.0),
        picture_tokens=1280,
        picture_sizes=((-1, 64, 32), (1, 1280, 1024)),
    )
    return msgspec.structs.replace(found, **changed)


BODY = {"query": "q", "documents": ["hi", {"text": "a bear", "image": URI}, {"image": ADDRESS}]}
REPEATED = [
    {"type": "image", "media_type": "image/png", "bytes": len(FILE)},
    {"type": "image_url", "image_url": {"url": ADDRESS}},
]


def reply(dialect: Dialect, body: dict[str, Any], **changed: Any) -> Any:
    parsed = dialect.read(Body(msgspec.json.encode(body)), context_of(dialect))
    found = parsed.reply([result(parsed.requests[0].documents, **changed)])
    encoded = msgspec.json.encode(found)
    assert BASE64[:40].encode() not in encoded
    return msgspec.json.decode(encoded)


def test_the_native_reply_says_what_it_read() -> None:
    """`multi_modal`, tokens of pictures and their sizes after scaling, and no picture's bytes."""
    found = reply(native.DIALECT, BODY)

    assert [one["document"] for one in found["results"]] == [
        {"text": "hi", "multi_modal": None},
        {"text": "a bear", "multi_modal": [REPEATED[0]]},
        {"text": "", "multi_modal": [REPEATED[1]]},
    ]
    assert found["usage"]["prompt_tokens_details"] == {"image_tokens": 1280}
    assert found["meta"]["pictures"] == [
        {"index": None, "width": 64, "height": 32},
        {"index": 1, "width": 1280, "height": 1024},
    ]


def test_a_reply_to_texts_says_nothing_of_pictures() -> None:
    """Replies to texts are what they were."""
    found = reply(
        native.DIALECT, {"query": "q", "documents": ["a"]}, picture_tokens=0, picture_sizes=()
    )

    assert "pictures" not in found["meta"]
    assert set(found["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}


def test_other_replies_have_what_their_dialects_have_a_place_for() -> None:
    """DashScope's repeats an address and counts tokens, Mixedbread's says what the native does."""
    nested = {"input": BODY, "parameters": {"return_documents": True}}
    found = reply(dashscope.DIALECT, nested)
    assert [one["document"] for one in found["output"]["results"]] == [
        {"text": "hi"},
        {"text": "a bear"},
        {"image": ADDRESS},
    ]
    assert found["usage"] == {"total_tokens": 1300, "image_tokens": 1280}
    sent = {"input": {"query": "q", "documents": [{"image": URI}]}} | {
        "parameters": nested["parameters"]
    }
    (row,) = reply(dashscope.DIALECT, sent)["output"]["results"]
    assert row["document"] == {"text": ""}

    body = {"query": "q", "input": BODY["documents"], "return_input": True}
    found = reply(mixedbread.DIALECT, body)
    assert found["data"][1]["input"] == {"text": "a bear", "multi_modal": [REPEATED[0]]}

    found = reply(zeroentropy.DIALECT, BODY)
    assert found["total_bytes"] == 3 + len("hi") + len("a bear") + len(FILE)


@pytest.mark.parametrize("escaped", [False, True])
def test_a_large_body_keeps_its_pictures(monkeypatch: pytest.MonkeyPatch, *, escaped: bool) -> None:
    """Long base64 is taken out of a large body and read as ever, also as PHP writes it."""
    monkeypatch.setattr(long_texts, "SLICE", 4096)
    file = bytes(range(256)) * 80
    text = base64.b64encode(file).decode()
    body = msgspec.json.encode({"query": "q", "documents": [{"image": text}, "hi"]})
    body = body.replace(b"/", rb"\/") if escaped else body

    whole = Body(body).split(max_documents=10)

    assert whole.skeleton
    assert len(whole.skeleton.content) < 200
    parsed = native.DIALECT.read(whole, context_of(native.DIALECT))
    assert parsed.requests[0].documents == (Pictured((Picture(file),)), "hi")


def test_messagepack_has_a_place_for_the_file_itself() -> None:
    """In MessagePack a picture may be bytes, also in a large body."""
    file = bytes(range(256)) * 80
    packed = msgspec.msgpack.encode({"query": "q", "documents": [{"image": file}]})

    for body in (Body(packed, packed=True), Body(packed, packed=True).split(max_documents=10)):
        parsed = native.DIALECT.read(body, context_of(native.DIALECT))
        assert parsed.requests[0].documents == (Pictured((Picture(file),)),)
