"""Golden files: a request, and what it is answered with, for every dialect.

A file has `path` and `request`, maybe `headers`, `settings` and `time_for`. With `sees`, the model
reads pictures. With `messagepack`, the request is sent as MessagePack, and what follows `bytes:` in
a string is base64 of bytes in its place.
`python tests/support/goldens.py` asks them all and writes `status`, `reply` and the `told` headers
anew, for a person to review.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from litestar.testing import TestClient

from rerankd.dialects.dialect import Body
from rerankd.http.negotiation import MSGPACK

from support.deadlines import time_for
from support.fakes import LIMITS
from support.places import DATA, files_in
from support.seeing import SEEING_LIMITS, SeeingEngine, seeing_service
from support.serving import FakeEngine, client_of, service_of

FOLDER = DATA / "golden"
TOLD = re.compile(r"x-compute-.*|x-.*-time|x-rerankd-warning|retry-after")
"""Headers of an answer that a golden file holds."""
TIMES = re.compile(r"\w+_ms|\w+_latency|created|x-.*-time")
"""What no two answers have in common."""
BYTES = "bytes:"


def files() -> list[Path]:
    """Return all golden files."""
    return files_in(FOLDER, "*/*.json")


def read(path: Path) -> dict[str, Any]:
    """Return a golden file."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


@contextmanager
def client_for(golden: dict[str, Any]) -> Iterator[TestClient[Any]]:
    """Yield a client of a server with a golden file's settings, which keeps no scores.

    With `time_for`, it has time for so many documents.
    """
    own = {"cache_bytes": 0} | golden.get("settings", {})
    with ExitStack() as stack:
        rows = 8
        if "time_for" in golden:
            stack.enter_context(time_for(golden["time_for"]))
            rows = 1
        if golden.get("sees"):
            seeing = SeeingEngine(msgspec.structs.replace(SEEING_LIMITS, step_rows=rows))
            service = stack.enter_context(seeing_service(seeing, **own))
        else:
            engine = FakeEngine(limits=msgspec.structs.replace(LIMITS, step_rows=rows))
            service = service_of(engine, **own)
        yield stack.enter_context(client_of(service))


def body_of_golden(golden: dict[str, Any]) -> Body:
    """Return a golden request as it is sent."""
    if golden.get("messagepack"):
        return Body(msgspec.msgpack.encode(_with_bytes(golden["request"])), packed=True)
    return Body(json.dumps(golden["request"], ensure_ascii=False).encode())


def _with_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_bytes(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_bytes(one) for one in value]
    if isinstance(value, str) and value.startswith(BYTES):
        return base64.b64decode(value.removeprefix(BYTES))
    return value


def answered(golden: dict[str, Any], client: TestClient[Any]) -> dict[str, Any]:
    """Ask a golden request, and return the file as it should be."""
    body = body_of_golden(golden)
    packed = {"Content-Type": MSGPACK} if body.packed else {}
    response = client.post(
        golden["path"],
        content=body.content,
        headers={"X-Request-Id": "golden"} | packed | golden.get("headers", {}),
    )
    told = {name: value for name, value in response.headers.items() if TOLD.fullmatch(name)}
    asked = {name: golden[name] for name in ASKED if name in golden}
    found = {"status": response.status_code, "reply": timeless(response.json())}
    return asked | found | ({"told": timeless(told)} if told else {})


ASKED = ("path", "headers", "settings", "time_for", "sees", "messagepack", "request")


def timeless(value: Any) -> Any:
    """Return an answer with all times at nought."""
    if isinstance(value, list):
        return [timeless(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: 0 if TIMES.fullmatch(name) and not isinstance(one, dict) else timeless(one)
        for name, one in value.items()
    }


def main() -> None:
    """Write all files anew."""
    for path in files():
        golden = read(path)
        with client_for(golden) as client:
            text = json.dumps(answered(golden, client), ensure_ascii=False, indent=2)
        path.write_text(text + "\n", "utf-8")
        print(path.relative_to(FOLDER))


if __name__ == "__main__":
    main()
