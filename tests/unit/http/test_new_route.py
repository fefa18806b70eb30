"""A new route takes a handler and a line of `route_handlers`: here a toy, in a list of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.testing import TestClient
from msgspec import Struct

from rerankd.errors import ModelLoading
from rerankd.http import application
from rerankd.http.guard import MANAGEMENT
from rerankd.http.openapi.document import document
from rerankd.http.openapi.operation import BodySchema, Tag
from rerankd.http.openapi.route_doc import RouteDoc
from rerankd.http.wire import Encoded
from rerankd.service import Service

from support.serving import client_of, service_of


class Toys(Struct):
    """What the route answers."""

    toys: int


@get(
    "/v1/toys",
    opt=MANAGEMENT,
    doc=RouteDoc(
        tag=Tag("toys", "Things to play with"),
        reply=BodySchema(Toys, {"toys": 3}),
        errors=(ModelLoading,),
    ),
    sync_to_thread=False,
)
def count_toys(service: NamedDependency[Service]) -> Response[Any]:
    """Count the toys.

    One for each deployment.
    """
    return Encoded(Toys(len(service.deployments.statuses)))


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Any]]:
    """Yield a client of a server that has the route and asks for keys."""
    handlers = application.route_handlers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            application, "route_handlers", lambda **given: (*handlers(**given), count_toys)
        )
        with client_of(service_of(api_keys=("k",))) as found:
            yield found


def test_it_is_answered_in_the_format_that_the_client_accepts(client: TestClient[Any]) -> None:
    """Its struct is encoded as JSON, or as MessagePack."""
    key = {"Authorization": "Bearer k"}
    packed = client.get("/v1/toys", headers=key | {"Accept": "application/msgpack"})

    assert client.get("/v1/toys", headers=key).json() == {"toys": 1}
    assert packed.content == b"\x81\xa4toys\x01"


def test_it_is_guarded_unless_it_says_otherwise(client: TestClient[Any]) -> None:
    """A caller without a key is refused before the handler runs."""
    assert client.get("/v1/toys").status_code == 401


def test_its_operation_is_read_from_the_handler(client: TestClient[Any]) -> None:
    """Name, first line of the docstring, schema, example and errors stand in the document."""
    spec = client.get("/openapi.json").json()
    operation = spec["paths"]["/v1/toys"]["get"]
    reply = operation["responses"]["200"]["content"]["application/json"]

    assert (operation["operationId"], operation["summary"]) == ("count_toys", "Count the toys")
    assert {"name": "toys", "description": "Things to play with"} in spec["tags"]
    assert reply["schema"] == {"$ref": "#/components/schemas/Toys"}
    assert reply["examples"]["Example"]["value"] == {"toys": 3}
    assert {"401", "403", "503"} <= operation["responses"].keys()


def test_a_route_that_does_not_describe_itself_is_a_mistake_of_ours() -> None:
    """The document can't be made, so that nobody forgets it."""

    @get("/v1/secret-toys", sync_to_thread=False)
    def secret() -> None:
        """Say nothing."""

    with pytest.raises(TypeError, match="secret has no `doc`"):
        document([count_toys, secret], keyed=True)
