"""Schemathesis against the whole API: what the document allows never breaks the server."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec
import pytest
import schemathesis
from huggingface_hub import constants
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from rerankd.dialects.embedding_table import EMBEDDING_DIALECTS
from rerankd.dialects.table import DIALECTS
from rerankd.http.application import route_handlers
from rerankd.http.negotiation import MSGPACK
from rerankd.http.openapi.document import document

from support.serving import server_of, service_of

pytestmark = pytest.mark.slow

PLUGIN = "schemathesis.pytest.plugin"
# Runs that don't need it may keep it out (`-p no:schemathesis`): it takes a second to import.
pytest_plugins = () if PLUGIN in sys.modules else (PLUGIN,)

KEY = "k1"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    ignored_auth,
]
"""Not those that want every wrong type refused: string booleans, say, are understood."""

ENDLESS = ("/v1/deployments/events",)


def aliases() -> list[str]:
    """Return the paths whose dialects another path has as well: one handler answers them all."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for path in DIALECTS.paths:
        names = tuple(dialect.name for dialect in DIALECTS if path in dialect.paths)
        kinds.setdefault(names, []).append(path)
    embedding = [path for one in EMBEDDING_DIALECTS for path in one.paths[1:]]
    return [path for paths in kinds.values() for path in paths[1:]] + embedding


API = schemathesis.openapi.from_dict(document(route_handlers(), keyed=True)).exclude(
    path=[*ENDLESS, *aliases()]
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Yield the address of a server over a fake engine that knows one key, and no Hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        with server_of(service_of(api_keys=(KEY,))) as found:
            yield found


@schemathesis.serializer(MSGPACK)
def packed(_context: schemathesis.SerializationContext, value: object) -> bytes:
    """Write bodies in MessagePack, too; what it has no number for goes out in JSON."""
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:
        return msgspec.json.encode(value)


@schemathesis.deserializer(MSGPACK)
def unpacked(_context: object, response: schemathesis.Response) -> object:
    """Read answers in MessagePack."""
    return msgspec.msgpack.decode(response.content)


@API.parametrize()
@settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_answers_keep_the_document(case: Case, url: str) -> None:
    """Whatever is sent, the answer has a documented status, type and shape, and is no fault."""
    case.call_and_validate(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, checks=CHECKS)
