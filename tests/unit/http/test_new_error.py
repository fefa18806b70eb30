"""A new error takes a class in the tree and a line of STATUSES: here a toy, raised by a service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar.testing import TestClient

from rerankd.dialects import tei, voyage
from rerankd.errors import RequestError, RerankdError
from rerankd.http import statuses

from docgen import api_page
from support.serving import client_of, rerank, service_of


class ToyBroken(RequestError):
    """A toy fell apart."""

    code = "toy_broken"


async def _breaks(*_: object, **__: object) -> None:
    raise ToyBroken("the wheel came off", param="toy")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient[Any]]:
    """Yield a client of a server that ends every request in the error."""
    monkeypatch.setitem(statuses.STATUSES, ToyBroken, 418)
    service = service_of()
    monkeypatch.setattr(service, "rank_many", _breaks)
    with client_of(service) as found:
        yield found


def test_it_is_answered_with_its_status_and_code(client: TestClient[Any]) -> None:
    """Message and parameter are the error's own."""
    answer = rerank(client, query="q", documents=["one"])

    assert answer.status_code == 418
    assert answer.json()["error"] == {
        "message": "the wheel came off",
        "type": "invalid_request_error",
        "code": "toy_broken",
        "param": "toy",
    }


@pytest.mark.parametrize("dialect", [voyage.DIALECT, tei.DIALECT], ids=lambda one: one.name)
def test_each_dialect_says_it_in_its_own_format(client: TestClient[Any], dialect: Any) -> None:
    """No dialect has to know the error."""
    answer = client.post("/rerank", json=dialect.example)

    assert answer.status_code == 418
    assert "the wheel came off" in answer.text


def test_it_is_counted_by_its_code(client: TestClient[Any]) -> None:
    """What the service didn't count itself is counted where it is answered."""
    rerank(client, query="q", documents=["one"])

    assert 'rerankd_errors_total{code="toy_broken",model=""} 1.0' in client.get("/metrics").text


def test_its_row_in_the_docs_is_made_from_its_docstring(monkeypatch: pytest.MonkeyPatch) -> None:
    """`just docs` needs nothing but the class and the table."""
    monkeypatch.setitem(statuses.STATUSES, ToyBroken, 418)

    assert "| 418 | `toy_broken` | a toy fell apart |" in api_page.errors()


def test_an_error_without_a_status_is_a_mistake_of_ours() -> None:
    """tests/unit/errors/test_errors.py compares the tree with the table; nothing is guessed."""
    with pytest.raises(KeyError):
        statuses.error_response(ToyBroken("no line of the table"))
    assert issubclass(ToyBroken, RerankdError)
