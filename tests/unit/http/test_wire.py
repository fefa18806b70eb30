"""Bodies in and out: JSON and MessagePack, compressed and not, within their limits."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st
from litestar.testing import TestClient

from rerankd.dialects import native
from rerankd.errors import BodyTooLarge, InvalidRequest, MalformedJson, UnsupportedMedia
from rerankd.http import content_encoding as codings
from rerankd.http import negotiation, wire
from rerankd.http.compression import LARGE, SMALLEST
from rerankd.http.content_encoding import Coding, coding_of, decompressed

from support.serving import client_of, rerank, server_of, service_of

Client = TestClient[Any]
ASKED = {"query": "q", "documents": ["one", "one two"]}
COMPRESS: dict[Coding, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "deflate": zlib.compress,
}
UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": zstd.decompress}

every_coding = pytest.mark.parametrize("coding", COMPRESS)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Yield a client of a ready service."""
    with client_of(service_of()) as found:
        yield found


def post(client: Client, content: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/v1/rerank", content=content, headers=named)


def raw(client: Client, path: str, accepted: str, **body: Any) -> tuple[httpx.Headers, bytes]:
    """Return an answer's headers and its bytes as they were sent."""
    method = "POST" if body else "GET"
    parsed = client.stream(method, path, json=body or None, headers={"Accept-Encoding": accepted})
    with parsed as response:
        return response.headers, b"".join(response.iter_raw())


# Negotiation


@pytest.mark.parametrize(
    ("accept", "streams", "expected"),
    [
        ("", True, "application/json"),
        ("*/*", True, "application/json"),
        ("text/html", True, "application/json"),
        ("application/json, application/msgpack", False, "application/json"),
        ("application/msgpack", False, "application/msgpack"),
        ("Application/X-MsgPack ; q=1", False, "application/x-msgpack"),
        ("application/vnd.msgpack, */*", False, "application/vnd.msgpack"),
        ("application/msgpack;q=0.5, */*", False, "application/json"),
        ("application/msgpack;q=0.9, application/json;q=0.1", False, "application/msgpack"),
        ("application/msgpack;q=0", False, "application/json"),
        ("application/msgpack;q=0, application/json;q=0", False, "application/json"),
        ("application/msgpack;q=inf, application/json;q=nan", False, "application/json"),
        ("application/x-ndjson", True, "application/x-ndjson"),
        ("application/x-ndjson", False, "application/json"),
        ("application/jsonl, application/json;q=0.2", True, "application/jsonl"),
        ("application/x-ndjson;q=0.3, application/msgpack", True, "application/msgpack"),
    ],
)
def test_media_type_is_the_one_wanted_most(accept: str, streams: bool, expected: str) -> None:
    """JSON is given unless another type is named and wanted more, or as much as any."""
    assert expected == negotiation.media_type(accept, streams=streams)


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", None),
        ("identity", None),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip", "gzip"),
        ("GZIP;Q=0.1", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("zstd;q=0.2, gzip;q=0.8", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "gzip"),
        ("*;q=0", None),
        ("br", None),
        ("xgzip", None),
    ],
)
def test_coding_is_the_one_accepted_most(accepted: str, expected: str | None) -> None:
    """Zstd goes before gzip where both are wanted alike; q=0 refuses."""
    assert expected == negotiation.coding(accepted, codings.COMPRESSORS)


@given(st.text())
def test_any_header_is_understood_somehow(header: str) -> None:
    """No header makes negotiation fail, and all qualities are within one."""
    assert all(0.0 <= quality <= 1.0 for quality in negotiation.qualities(header).values())
    assert negotiation.media_type(header, streams=True)
    assert negotiation.coding(header, codings.COMPRESSORS) in {None, *codings.COMPRESSORS}


# Decompression


@settings(deadline=None)
@given(body=st.binary(max_size=5000), coding=st.sampled_from(sorted(COMPRESS)))
def test_what_was_compressed_comes_out(body: bytes, coding: Coding) -> None:
    """Every body comes back, at its own size as the limit and not below it."""
    packed = COMPRESS[coding](body)

    assert body == decompressed(packed, coding, len(body))
    if body:
        with pytest.raises(BodyTooLarge):
            decompressed(packed, coding, len(body) - 1)


@every_coding
@given(body=st.binary(max_size=300), cut=st.integers(1, 400), more=st.binary(min_size=1))
def test_damaged_data_is_refused(coding: Coding, body: bytes, cut: int, more: bytes) -> None:
    """Data that is cut short or followed by anything is an error, never a part of the body."""
    packed = COMPRESS[coding](body)

    for wrong in (packed[:-cut], packed + more):
        with pytest.raises(InvalidRequest):
            decompressed(wrong, coding, 10_000)


@every_coding
@given(body=st.binary(max_size=300))
def test_any_data_is_answered(coding: Coding, body: bytes) -> None:
    """Bytes that were never compressed give one of our errors, whatever they are."""
    with suppress(InvalidRequest, BodyTooLarge):
        decompressed(body, coding, 100)


def test_bomb_costs_no_more_than_the_limit(client: Client) -> None:
    """A small body that would become a gigabyte ends at the limit."""
    part = zstd.ZstdCompressor()
    bomb = b"".join(part.compress(bytes(1 << 20)) for _ in range(1024)) + part.flush()

    assert len(bomb) < 100_000
    with pytest.raises(BodyTooLarge):
        decompressed(bomb, "zstd", 1 << 20)
    assert 413 == post(client, bomb, Content_Encoding="zstd").status_code


def test_wide_zstd_windows_are_refused() -> None:
    """A frame may not ask for more than the 8 MiB that HTTP allows."""
    options = {zstd.CompressionParameter.window_log: 27}
    stream = zstd.ZstdCompressor(options=options)
    packed = stream.compress(b"a") + stream.flush()

    with pytest.raises(InvalidRequest):
        decompressed(packed, "zstd", 100)


@pytest.mark.parametrize("name", ["br", "gzip, gzip", "zstd,gzip", "compress", "aws-chunked"])
def test_other_codings_are_415_and_the_known_ones_told(client: Client, name: str) -> None:
    """A coding that isn't read, or one upon another, is refused with the list of those that are."""
    with pytest.raises(UnsupportedMedia):
        coding_of(name)
    response = post(client, b"{}", Content_Encoding=name)

    assert 415 == response.status_code
    assert "unsupported_media" == response.json()["error"]["code"]
    assert "gzip, x-gzip, zstd, deflate" == response.headers["accept-encoding"]


@every_coding
def test_compressed_requests_are_answered(client: Client, coding: Coding) -> None:
    """A compressed body means what it says inside."""
    body = COMPRESS[coding](json.dumps(ASKED).encode())

    response = post(client, body, Content_Encoding=coding.upper())

    assert [1, 0] == [one["index"] for one in response.json()["results"]]


def test_limit_holds_for_what_comes_out() -> None:
    """A body under the limit that becomes larger than it is 413."""
    body = gzip.compress(json.dumps({"query": "q" * 5000, "documents": ["a"]}).encode())

    with client_of(service_of(max_body_bytes=1024)) as client:
        response = post(client, body, Content_Encoding="gzip")

    assert len(body) < 1024
    assert (413, "body_too_large") == (response.status_code, response.json()["error"]["code"])


# MessagePack


def packed(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


@pytest.mark.parametrize("name", sorted(negotiation.MSGPACK_NAMES))
def test_messagepack_goes_in_and_out(client: Client, name: str) -> None:
    """A request in MessagePack is answered as the same one in JSON is."""
    answer = post(client, packed(ASKED), Content_Type=f"{name}; v=1", Accept=name)
    expected = rerank(client, **ASKED).json()

    assert answer.headers["content-type"] == name
    assert "Accept" in answer.headers["vary"]
    found = msgspec.msgpack.decode(answer.content)
    assert found["results"] == expected["results"]
    assert found["usage"] == expected["usage"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/deployments", "/v1/catalog", "/health"])
def test_every_route_answers_in_messagepack(path: str) -> None:
    """What has a JSON body has one in MessagePack, with the same keys."""
    with client_of(service_of(api_keys=("k",))) as client:
        client.headers["Authorization"] = "Bearer k"
        answer = client.get(path, headers={"Accept": "application/msgpack"})
        expected = client.get(path).json()

    assert expected.keys() == msgspec.msgpack.decode(answer.content).keys()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/keys", {"name": "a"}, 201),
        ("/v1/deployments", {"model": "rerank-mini-en"}, 409),
        ("/v1/deployments", {"model": 3, "pinned": []}, 400),
    ],
)
def test_managing_reads_messagepack(path: str, body: dict[str, Any], status: int) -> None:
    """What manages the server reads both formats as well."""
    headers = {"Authorization": "Bearer k", "Content-Type": "application/msgpack"}
    with client_of(service_of(api_keys=("k",))) as client:
        answer = client.post(path, content=packed(body), headers=headers)

    assert status == answer.status_code


def test_errors_are_in_messagepack_too(client: Client) -> None:
    """Who asks for MessagePack can read what went wrong."""
    for path in ("/v1/rerank", "/nowhere"):
        answer = client.post(path, content=b"{", headers={"Accept": "application/msgpack"})

        assert answer.headers["content-type"] == "application/msgpack"
        assert {"message", "code"} <= msgspec.msgpack.decode(answer.content)["error"].keys()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\xc1", "malformed_json"),
        (packed(ASKED)[:-1], "malformed_json"),
        (packed(ASKED) + b"\xc0", "malformed_json"),
        (b"\x81\xa1x" + b"\x91" * 100_000, "malformed_json"),
        (packed(["a"]), "invalid_request"),
        (packed({1: "q"}), "invalid_request"),
        (packed({"query": b"q", "documents": ["a"]}), "invalid_request"),
        (packed({"query": "q", "documents": [1]}), "invalid_request"),
        (packed({"query": "q", "documents": [b"a"]}), "invalid_request"),
        (packed({"query": "q", "documents": []}), "missing_documents"),
    ],
)
def test_bad_messagepack_is_400(client: Client, body: bytes, code: str) -> None:
    """Damaged bodies, bytes in the place of texts and wrong types are the client's faults."""
    answer = post(client, body, Content_Type="application/msgpack")

    assert (400, code) == (answer.status_code, answer.json()["error"]["code"])


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"query":' * 100_000, b'{"x":' + b"[" * 5000])
def test_deep_json_is_refused(client: Client, body: bytes) -> None:
    """A body nested deeper than any stack is malformed or too large, not our fault."""
    assert post(client, body).status_code in {400, 413}


@given(st.binary(max_size=60), st.sampled_from(["", "application/msgpack", "text/plain"]))
def test_any_bytes_are_a_value_or_our_error(body: bytes, content_type: str) -> None:
    """Decoding ends with a value or with an error of ours, whatever the bytes."""
    with suppress(MalformedJson, InvalidRequest):
        wire.decode(body, content_type, native.Request)


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded"],
)
def test_json_is_read_under_any_name(client: Client, content_type: str) -> None:
    """Clients send JSON under many names, and without one."""
    answer = post(client, json.dumps(ASKED).encode(), Content_Type=content_type)

    assert 200 == answer.status_code


# Compression


@pytest.mark.parametrize("coding", sorted(codings.COMPRESSORS))
@given(parts=st.lists(st.binary(max_size=50), min_size=1))
def test_each_part_can_be_read_when_it_is_sent(coding: str, parts: list[bytes]) -> None:
    """Nothing of a part is kept back for the next one."""
    compressor = codings.COMPRESSORS[coding]()
    reader = zlib.decompressobj(codings.GZIP_BITS) if coding == "gzip" else zstd.ZstdDecompressor()

    for part in parts[:-1]:
        assert part == reader.decompress(compressor.add(part))
    assert parts[-1] == reader.decompress(compressor.finish(parts[-1]))
    assert reader.eof


@pytest.mark.parametrize("coding", sorted(UNPACK))
@pytest.mark.parametrize("words", [200, LARGE])
def test_answers_are_compressed(client: Client, coding: str, words: int) -> None:
    """Answers over a kilobyte are compressed, on the event loop or in a thread."""
    text = "word " * words

    headers, body = raw(client, "/v1/rerank", coding, query="q", documents=[text])

    assert coding == headers["content-encoding"]
    assert str(len(body)) == headers["content-length"]
    assert {"Accept", "Accept-Encoding"} == set(headers["vary"].replace(" ", "").split(","))
    assert text == json.loads(UNPACK[coding](body))["results"][0]["document"]["text"]


def test_small_answers_are_left_alone(client: Client) -> None:
    """Under a kilobyte, and for who accepts no coding, nothing is compressed; caches are told."""
    small = raw(client, "/health", "gzip, zstd")
    refused = raw(client, "/openapi.json", "gzip;q=0, zstd;q=0")

    for headers, body in (small, refused):
        assert "content-encoding" not in headers
        assert "Accept-Encoding" in headers["vary"]
        assert json.loads(body)
    assert len(small[1]) < SMALLEST < len(refused[1])


def test_other_sites_dont_change_what_caches_are_told() -> None:
    """An answer that depends on the origin still depends on what its client accepts."""
    origin = "https://a.example"
    with client_of(service_of(cors_origins=(origin,))) as client:
        answer = client.get("/v1/models", headers={"Origin": origin})

    assert origin == answer.headers["access-control-allow-origin"]
    assert {"Origin", "Accept", "Accept-Encoding"} == set(answer.headers["vary"].split(", "))


def test_files_keep_a_weak_tag(client: Client) -> None:
    """A compressed file isn't the bytes its tag was made for."""
    plain, _ = raw(client, "/static/api.js", "identity")
    packed_headers, body = raw(client, "/static/api.js", "gzip")

    assert f"W/{plain['etag']}" == packed_headers["etag"]
    assert str(len(gzip.decompress(body))) == plain["content-length"]


def test_events_are_flushed_one_by_one() -> None:
    """A compressed event stream can be read while it goes on."""
    with server_of(service_of(start=False)) as url:
        headers = {"Accept-Encoding": "gzip"}
        with httpx.stream("GET", f"{url}/v1/deployments/events", headers=headers) as response:
            first = next(response.iter_raw())

    assert "gzip" == response.headers["content-encoding"]
    assert b"event: deployment" in zlib.decompressobj(codings.GZIP_BITS).decompress(first)


# Connections


def test_client_that_leaves_while_sending_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Half a body and a closed connection leave no traceback in the log."""
    with server_of(service_of(start=False)) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(
                b"POST /v1/rerank HTTP/1.1\r\nHost: ::\r\nContent-Length: 9\r\n\r\n{"
            )
        answer = httpx.post(f"{url}/v1/rerank", json=ASKED)

    assert 200 == answer.status_code
    assert not [record for record in caplog.records if record.exc_info]
