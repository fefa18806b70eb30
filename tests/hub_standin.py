"""A Hub on the loopback: the route that downloading one file takes, and its refusals."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fakes import PATIENCE
from litestar import Litestar, Request, Response, route
from litestar.response import Stream

COMMIT = "0123456789abcdef0123456789abcdef01234567"

REFUSALS = {
    "missing": (404, "RepoNotFound"),
    "private": (401, "RepoNotFound"),
    "gated": (403, "GatedRepo"),
    "forbidden": (403, None),
    "broken": (500, None),
    "busy": (503, None),
    "strange": (200, None),
}
"""Repositories of the owner `refuses` by name: the status, and what X-Error-Code says."""

AnyRequest = Request[Any, Any, Any]


class HubStandin:
    """Files by `owner/name:file` at one commit, and the requests that came for them."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        """Method, revision and range of every request, e.g. `GET main bytes=3-`."""
        self.cuts: list[int] = []
        """The coming downloads break off after so many bytes each."""

    def application(self) -> Litestar:
        """Return the route as an ASGI application."""

        @route("/{owner:str}/{name:str}/resolve/{rest:path}", http_method=["GET", "HEAD"])
        async def resolve(request: AnyRequest) -> Response[Any]:
            owner, name, rest = (str(request.path_params[key]) for key in ("owner", "name", "rest"))
            revision, _, file = rest.removeprefix("/").partition("/")
            wanted = request.headers.get("range", "")
            self.requests.append(f"{request.method} {revision} {wanted}".strip())
            status, code = self._refusal(owner, name, revision, file)
            if status:
                return _refused(status, code)
            return self._sent(self.files[f"{owner}/{name}:{file}"], request.method, wanted)

        return Litestar([resolve], openapi_config=None, logging_config=None)

    def _refusal(self, owner: str, name: str, revision: str, file: str) -> tuple[int, str | None]:
        if owner == "refuses":
            return REFUSALS[name]
        if revision not in {"main", "v1", COMMIT}:
            return 404, "RevisionNotFound"
        if f"{owner}/{name}:{file}" not in self.files:
            return 404, "EntryNotFound"
        return 0, None

    def _sent(self, content: bytes, method: str, wanted: str) -> Response[Any]:
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": str(len(content)),
            "Accept-Ranges": "bytes",
        }
        if method == "HEAD":
            return Response(None, headers=headers)
        found = re.fullmatch(r"bytes=(\d+)-", wanted)
        part = content[int(found[1]) :] if found else content
        headers["Content-Length"] = str(len(part))
        if found:
            headers["Content-Range"] = f"bytes {found[1]}-{len(content) - 1}/{len(content)}"
        if self.cuts:
            part = part[: self.cuts.pop(0)]
        return Stream(_pieces(part), status_code=206 if found else 200, headers=headers)


async def _pieces(part: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(part), 64):
        yield part[start : start + 64]


def _refused(status: int, code: str | None) -> Response[None]:
    headers = {"X-Error-Code": code, "X-Error-Message": f"it is {code}"} if code else {}
    return Response(None, status_code=status, headers=headers)


class _Announcing(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.announced = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.announced.set()


@contextmanager
def listening(standin: HubStandin) -> Iterator[str]:
    """Serve a stand-in on a free loopback port in a thread of its own; yield its address."""
    config = uvicorn.Config(standin.application(), port=0, lifespan="off", log_config=None)
    server = _Announcing(config)
    thread = threading.Thread(target=server.run, name="hub")
    thread.start()
    try:
        assert server.announced.wait(PATIENCE)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
