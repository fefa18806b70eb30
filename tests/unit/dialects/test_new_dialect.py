"""A new dialect takes a module and a line of the table: here a toy, in a table of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient
from msgspec import Struct

from rerankd.dialects import native, table
from rerankd.dialects.dialect import Body, Dialect, ParsedRequest, RequestContext
from rerankd.dialects.error_format import ErrorFormat
from rerankd.dialects.marks import Marks
from rerankd.dialects.reading import Texts, documents_of
from rerankd.dialects.table import DIALECTS, DialectTable
from rerankd.domain import RankRequest
from rerankd.errors import ModelNotFound, RerankdError

from support.serving import client_of, service_of


class ToyRequest(Struct):
    """A body of the dialect."""

    needle: str
    haystack: Texts | None = None
    model: str | None = None


class ToyReply(Struct):
    """The indices of the texts, best first."""

    found: list[int]


class ToyError(Struct):
    """An error of the dialect."""

    oops: str


def _parse_toy(body: Body, context: RequestContext) -> ParsedRequest:
    wire = body.decode(ToyRequest)
    model = wire.model or context.model or None
    request = RankRequest(
        query=wire.needle, documents=documents_of(wire.haystack, "haystack"), model=model
    )
    return ParsedRequest(
        (request,), lambda results: ToyReply([one.index for one in results[0].results])
    )


def _toy_error(error: RerankdError) -> ToyError:
    return ToyError(error.message)


TOY = Dialect(
    name="toy",
    title="Toy, and its friends",
    paths=("/rerank", "/toy/{model}"),
    marks=Marks("`needle`", ("needle",), lambda fields: fields.has_value("needle")),
    request=ToyRequest,
    reply=ToyReply,
    example={"needle": "q", "haystack": ["one", "one two three", "one two"]},
    parse=_parse_toy,
    errors=ErrorFormat(body=_toy_error, statuses={ModelNotFound: 409}),
)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Any]]:
    """Yield a client of a server that speaks the new dialect as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "DIALECTS", DialectTable(TOY, *DIALECTS))
        with client_of(service_of()) as found:
            yield found


def test_its_requests_are_detected_and_nobody_else_s() -> None:
    """Every other dialect's example is still taken for what it is, on all of its paths."""
    wider = DialectTable(TOY, *DIALECTS)

    for dialect in wider:
        body = Body(msgspec.json.encode(dialect.example))
        for path in dialect.paths:
            assert wider.detect(path, body) is dialect


@pytest.mark.parametrize("path", ["/rerank", "/toy/rerank-mini-en"])
def test_it_is_answered(client: TestClient[Any], path: str) -> None:
    """On a shared path by its marks, on its own by the path, with the model that stands in it."""
    response = client.post(path, json=TOY.example)

    assert (response.status_code, response.json()) == (200, {"found": [1, 2, 0]})


def test_its_errors_are_in_its_own_format_and_status(client: TestClient[Any]) -> None:
    """Also those that come before the body is read, where the path is its own."""
    unknown = client.post("/toy/nothing", json=TOY.example)
    broken = client.post("/toy/rerank-mini-en", content=b"{")

    assert (unknown.status_code, unknown.json().keys()) == (409, {"oops"})
    assert (broken.status_code, broken.json().keys()) == (400, {"oops"})


def test_it_is_in_the_openapi_document(client: TestClient[Any]) -> None:
    """With its example and what is answered to it, its mark, its errors and a tag of its own."""
    spec = client.get("/openapi.json").json()
    own, shared = (spec["paths"][path]["post"] for path in TOY.paths[::-1])
    refused = spec["components"]["responses"]

    assert own["tags"] == ["Toy"]
    assert {"name": "Toy", "description": "The dialect of Toy, and its friends"} in spec["tags"]
    assert "Toy, and its friends: `needle`." in shared["description"]
    for operation in (own, shared):
        content = operation["requestBody"]["content"]["application/json"]
        assert content["examples"]["Toy"]["value"] == TOY.example
        reply = operation["responses"]["200"]["content"]["application/json"]
        assert reply["examples"]["Toy"]["value"] == {"found": [2, 1, 0]}
        assert "409" in operation["responses"]
    assert "404" in shared["responses"]
    assert "404" not in own["responses"]
    assert spec["components"]["schemas"]["ToyRequest"]["required"] == ["needle", "haystack"]
    assert "ToyError409" in refused
    assert not any("Toy" in name for name in refused if name.endswith("404"))


def test_a_dialect_that_could_never_be_detected_is_refused() -> None:
    """Behind one without marks nobody's turn comes, and somebody must take what is left."""
    with pytest.raises(ValueError, match="/rerank: exactly the last"):
        DialectTable(*DIALECTS, TOY)
    with pytest.raises(ValueError, match="/v1/rerank: exactly the last"):
        DialectTable(*(one for one in DIALECTS if one is not native.DIALECT))
