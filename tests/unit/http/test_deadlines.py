"""Deadlines from the connection on, and work that ends when its client leaves."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest

from rerankd.domain import Outcome, StepFacts, TokenIds
from rerankd.http import access_log

from support.fakes import PATIENCE, FakeTokenizer
from support.serving import FakeEngine, app_of, server_of, service_of

UPLOAD_SECONDS = 10.0


def test_a_deadline_counts_from_the_requests_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that takes longer to arrive than the deadline leaves no time to rank."""
    ahead = 0.0

    async def slow_body() -> AsyncIterator[bytes]:
        nonlocal ahead
        ahead = UPLOAD_SECONDS
        yield json.dumps({"query": "q", "documents": ["a"], "timeout_ms": 5000}).encode()

    # The clock of arrivals alone: what is read before the body lies that far back.
    def arrival_clock() -> float:
        return time.monotonic() - UPLOAD_SECONDS + ahead

    monkeypatch.setattr(access_log, "time", SimpleNamespace(monotonic=arrival_clock))
    service = service_of(start=False)

    async def ask() -> httpx.Response:
        await service.start()
        transport = httpx.ASGITransport(app_of(service))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            response = await client.post("/v1/rerank", content=slow_body())
        await service.close()
        return response

    response = asyncio.run(ask())
    assert response.status_code == 504
    assert "within 10" in response.json()["error"]["message"]


class HeldTokenizer(FakeTokenizer):
    """Stops at a text until the test goes on, and keeps all that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.reached, self.may_go_on = threading.Event(), threading.Event()

    def tokenize(self, text: str, *, special: bool = False) -> TokenIds:
        self.seen.append(text)
        if "first" in text:
            self.reached.set()
            assert self.may_go_on.wait(PATIENCE)
        return super().tokenize(text, special=special)


class Leaving:
    """An observer that waits for a client to leave."""

    def __init__(self) -> None:
        self.left = threading.Event()

    def ranked(self, outcome: Outcome) -> None:
        if outcome.error == "client_closed":
            self.left.set()

    def stepped(self, model: str, step: StepFacts) -> None:
        """Nothing is scored here."""


def test_a_request_whose_client_left_is_tokenised_no_further() -> None:
    """The text at hand is finished, and none after it is begun."""
    engine, tokenizer, leaving = FakeEngine(), HeldTokenizer(), Leaving()
    engine.tokenizer = tokenizer
    service = service_of(engine)
    service.observer = leaving
    documents = ["first", *(f"later {number}" for number in range(200))]
    content = json.dumps({"query": "q", "documents": documents}).encode()
    head = b"POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    with server_of(service) as url:
        place = urlsplit(url)
        with socket.create_connection((place.hostname or "", place.port or 0)) as line:
            line.sendall(head % len(content) + content)
            assert tokenizer.reached.wait(PATIENCE)
        assert leaving.left.wait(PATIENCE)
        tokenizer.may_go_on.set()

    assert not [text for text in tokenizer.seen if "later" in text]
