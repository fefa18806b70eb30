"""Errors free what their requests held at once, instead of leaving it to the cycle collector.

An error holds its traceback, and that the frames of its request with body and texts. Where one of
them holds the error in turn, all stay until the collector's rare full pass: megabytes of each.
"""

from __future__ import annotations

import gc
from types import FrameType
from typing import Any

import pytest

from rerankd.http.routes import LARGE_BODY

from support.serving import client_of, service_of

pytestmark = pytest.mark.slow

NDJSON = {"Accept": "application/x-ndjson"}
LONG = "x " * LARGE_BODY


def asking(*documents: str, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """Return a request to rank documents."""
    body = {"query": "q", "documents": documents, **more}
    return {"json": body, "headers": headers or {}}


REQUESTS: dict[str, dict[str, Any]] = {
    "an engine that fails": asking("poison"),
    "an engine that fails in a stream": asking("poison", headers=NDJSON),
    "an engine that fails after a score": asking("a", *["b"] * 20, "poison", headers=NDJSON),
    "an engine that fails on a large one": asking("poison", LONG),
    "no such model": asking("a", model="none"),
    "a small body": {"content": b'{"query":'},
    "a large body": {"content": b'{"query":' + b"[" * 2 * LARGE_BODY},
    "a wrong coding": {"content": b"x" * 99, "headers": {"Content-Encoding": "gzip"}},
    "a body above the limit": {"content": b" " * 1_100_000},
}


def leftover_frames(client: Any, path: str, **request: Any) -> tuple[int, list[str]]:
    """Return the status of an answer, and the functions whose frames only a full pass frees."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        status = client.post(path, **request).status_code
        gc.collect()
        frames = [one.f_code for one in gc.garbage if isinstance(one, FrameType)]
        return status, [code.co_name for code in frames if "rerankd" in code.co_filename]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("name", REQUESTS)
def test_nothing_of_a_failed_request_stays(name: str) -> None:
    request = {"path": "/v1/rerank", **REQUESTS[name]}
    with client_of(service_of(max_body_bytes=1_000_000)) as client:
        client.post(**{"url" if key == "path" else key: one for key, one in request.items()})
        status, left = leftover_frames(client, request.pop("path"), **request)

    assert status >= 400 or "Accept" in request["headers"]
    assert left == []
