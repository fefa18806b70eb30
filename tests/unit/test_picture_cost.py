"""scripts/picture_cost.py: what it asks, and the rows it prints."""

from __future__ import annotations

import base64
import json
import os

import httpx
import picture_cost
import pytest


def answer(request: httpx.Request) -> httpx.Response:
    """Reply as a server whose model sees."""
    body = json.loads(request.content)
    uri = body["documents"][0]["image"]
    assert base64.b64decode(uri.partition(",")[2]).startswith(b"\xff\xd8\xff")
    meta = {"pictures": [{"index": 0, "width": 256, "height": 224}]}
    usage = {"prompt_tokens": 90, "prompt_tokens_details": {"image_tokens": 56}}
    return httpx.Response(200, json={"results": [], "meta": meta, "usage": usage})


def test_each_size_is_asked_about_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a new picture a repeat and another query each time, so that no score is known."""
    monkeypatch.setattr(picture_cost, "SIZES", ((64, 32), (32, 32)))
    asked: list[tuple[str, str]] = []

    def keep(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        asked.append((body["query"], body["documents"][0]["image"]))
        return answer(request)

    with httpx.Client(transport=httpx.MockTransport(keep), base_url="http://test") as client:
        found = list(picture_cost.costs_of(client, None, 2, os.getpid()))

    assert [one.size for one in found] == [(64, 32), (32, 32)]
    assert len(asked) == len(set(asked)) == 1 + 2 * 2 * 2
    assert len({uri for _, uri in asked}) == 1 + 2 * 2
    assert found[0].cells[:3] == ("64 × 32", "256 × 224", "56")
    assert int(found[0].cells[5]) > 1


def test_a_server_that_does_not_see_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its own words."""
    client = httpx.Client
    transport = httpx.MockTransport(lambda _: httpx.Response(422, text="text_only"))
    monkeypatch.setattr(
        picture_cost.httpx, "Client", lambda **given: client(transport=transport, **given)
    )
    assert picture_cost.main([]) == 1
    assert capsys.readouterr().err == "422: text_only\n"
