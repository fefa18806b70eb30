"""Large bodies: read without holding up other threads, and bounded in what they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.dialects import long_texts
from rerankd.dialects.dialect import VALUES_PER_DOCUMENT, Body, RequestContext
from rerankd.dialects.long_texts import json_skeleton
from rerankd.dialects.native import parse_native
from rerankd.errors import BodyTooLarge, MalformedJson, RequestError

MOST = 1000
WORDS = ["plain words ", "\\", '"', "\n", "é", "熊猫", "😀", "\ud83d", "\ude00", "{", "[,", "\x01"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=60).map("".join)
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(autouse=True)
def _short_slices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Divide texts often, so that every kind of place to divide them at occurs."""
    with monkeypatch.context() as patch:
        patch.setattr(long_texts, "SLICE", 67)
        patch.setattr(long_texts, "STRETCH", 71)
        yield


def mended(value: Any) -> Any:
    """Return a value as it must arrive: pairs of surrogates joined, others replaced."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [mended(one) for one in value]
    if isinstance(value, dict):
        return {mended(key): mended(one) for key, one in value.items()}
    return value


@given(value=VALUES, spaced=st.booleans())
def test_json_is_the_same_in_parts(value: Any, *, spaced: bool) -> None:
    """Escapes, characters and their halves are never divided."""
    content = json.dumps({"x": value}, indent=90 if spaced else None).encode()

    assert Body(content).split(MOST).decode(dict[str, Any]) == mended(json.loads(content))


@given(value=VALUES.map(mended))
def test_unescaped_json_and_messagepack_are_the_same_in_parts(value: Any) -> None:
    plain, packed = msgspec.json.encode({"x": value}), msgspec.msgpack.encode({"x": value})

    assert Body(plain).split(MOST).decode(dict[str, Any]) == {"x": value}
    assert Body(packed, packed=True).split(MOST).decode(dict[str, Any]) == {"x": value}


@given(content=st.binary(max_size=300), packed=st.booleans())
def test_any_bytes_in_parts_are_a_value_or_refused(content: bytes, *, packed: bool) -> None:
    """Nothing but a RequestError is raised."""
    with suppress(RequestError):
        Body(content, packed=packed).split(MOST).decode(dict[str, Any])


def test_requests_get_their_long_texts_back() -> None:
    """Structs, objects, content parts and long keys included."""
    long = "a long text " * 50
    body = {
        "query": {"text": long},
        "documents": [long, {long: [long]}, [{"type": "text", "text": long}], {long: long}],
        "rank_fields": [long],
    }
    parsed = parse_native(Body(json.dumps(body).encode()).split(MOST), RequestContext())

    request = parsed.requests[0]
    assert request.query == long
    assert request.documents == (long, f"{long}:\n- {long}", long, f"{long}: {long}")


LIMIT = VALUES_PER_DOCUMENT * MOST


@pytest.mark.parametrize(
    ("unit", "count"),
    [
        (b'""', LIMIT),
        (b"[]", LIMIT),
        (b'{"text":""}', LIMIT // 2),
        (b'["x"]', LIMIT),
        (b"1", LIMIT),
    ],
)
def test_bodies_of_too_many_values_are_refused(unit: bytes, count: int) -> None:
    """Each small value takes many times its bytes in memory, and time."""
    content = b'{"query":"q","documents":[%b]}' % b",".join([unit] * (count + 1))
    packed = msgspec.msgpack.encode([msgspec.json.decode(unit)] * (2 * count + 1))

    with pytest.raises(BodyTooLarge):
        Body(content).split(MOST)
    with pytest.raises(BodyTooLarge):
        Body(packed, packed=True).split(MOST)


def test_texts_are_no_values() -> None:
    """However many commas and brackets are in them."""
    texts = ["[{,}]" * 500] * MOST
    content = msgspec.json.encode({"documents": texts})

    assert Body(content).split(MOST).decode(dict[str, Any]) == {"documents": texts}


@pytest.mark.parametrize(
    "content",
    [
        b'{"query":"' + b"x" * 300,
        b'{"query":"\\q' + b"x" * 300 + b'"}',
        b'{"query":"' + b"\x80" * 300 + b'"}',
        b'{"x":' + b"1" * 2000 + b"}",
    ],
)
def test_damaged_json_is_refused_before_it_is_decoded(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its decoding would take as long as that of a good body."""
    monkeypatch.setattr(long_texts, "SLICE", 256 * 1024)
    monkeypatch.setattr(long_texts, "STRETCH", 64 * 1024)
    with pytest.raises(MalformedJson):
        Body(content).split(MOST)


def test_digits_without_end_are_refused_after_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number is looked at once: 30,000 of 900 digits took minutes."""
    monkeypatch.setattr(long_texts, "SLICE", 256 * 1024)
    monkeypatch.setattr(long_texts, "STRETCH", 64 * 1024)
    body = b'{"documents":[],"x":[%b]}'
    with pytest.raises(MalformedJson, match="too long"):
        json_skeleton(body % b",".join([b"1" * 900] * 10), 1000)
    found = json_skeleton(body % b",".join([b"-0." + b"1" * 90] * 10), 1000)

    assert found.content.count(b"-0.1") == 10


def test_large_bodies_let_other_threads_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is decoded in one call is larger than a slice, or than what has no texts."""
    monkeypatch.setattr(long_texts, "SLICE", 256 * 1024)
    monkeypatch.setattr(long_texts, "STRETCH", 64 * 1024)
    sizes: list[int] = []
    decode = msgspec.json.decode

    def measured(content: bytes, **given: Any) -> Any:
        sizes.append(len(content))
        return decode(content, **given)

    monkeypatch.setattr("rerankd.utf8.msgspec.json.decode", measured)
    texts = ["\n" * 400_000, "熊猫" * 200_000, *["a bear is an animal " * 20] * 1000]
    body = Body(json.dumps({"query": "q", "documents": texts}).encode()).split(10_000)

    assert parse_native(body, RequestContext()).requests[0].documents == tuple(texts)
    assert max(sizes) <= 256 * 1024 + 16
