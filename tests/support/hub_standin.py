"""A Hub on the loopback: the routes that the real client takes for models, and a Hub's faults."""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import uvicorn
from huggingface_hub import constants
from litestar import Litestar, Request, Response, get, route
from litestar.response import Stream

from support.fakes import PATIENCE

COMMIT = "0123456789abcdef0123456789abcdef01234567"

REFUSALS = {
    "missing": (404, "RepoNotFound"),
    "private": (401, "RepoNotFound"),
    "gated": (403, "GatedRepo"),
    "token": (401, None),
    "forbidden": (403, None),
    "lost": (404, None),
    "limited": (429, None),
    "broken": (500, None),
    "busy": (503, None),
    "strange": (200, None),
}
"""Repositories of the owner `refuses` by name: the status, and what X-Error-Code says."""

AnyRequest = Request[Any, Any, Any]


class HubStandin:
    """Files by `owner/name:file` at one commit, the requests that came, and what shall go wrong."""

    def __init__(self) -> None:
        self.released = threading.Event()
        """Lets downloads that stopped go on."""
        self.reset()

    def reset(self) -> None:
        """Forget files, requests and faults."""
        self.released.set()
        self.released = threading.Event()
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        """Method, revision and range of every request for a file, e.g. `GET main bytes=3-`."""
        self.listings: list[str] = []
        """Revisions of which a list of files was asked for."""
        self.searches: list[dict[str, Any]] = []
        """The queries of every search."""
        self.sent = 0
        """Bytes of files that were sent."""
        self.tokens: set[str] = set()
        """Tokens that requests to the storage carried: there should be none."""
        self.storage = ""
        """Where downloads are redirected to: another name of this server, or nowhere."""
        self.cuts: list[int] = []
        """The coming downloads break off after so many bytes each."""
        self.stalls: list[int] = []
        """The coming downloads that are not cut stop after so many bytes until `released`."""
        self.answers: list[int] = []
        """Statuses that the coming requests for a file's bytes are refused with."""
        self.lies: dict[str, bytes] = {}
        """What is sent in place of a file that is described as it should be."""
        self.sizes: dict[str, int] = {}
        """Sizes that are said of files in place of their own."""
        self.etags: dict[str, str] = {}
        """Etags that are said of files in place of their own."""
        self.moved: dict[str, str] = {}
        """New names of repositories by their old ones."""
        self.ranges = True
        """Whether a download can go on in the middle."""
        self.piece = 64

    def application(self) -> Litestar:
        """Return the routes as an ASGI application."""

        @route("/{owner:str}/{name:str}/resolve/{rest:path}", http_method=["GET", "HEAD"])
        async def resolve(request: AnyRequest) -> Response[Any]:
            return self._resolve(request)

        @get("/storage/{owner:str}/{name:str}/{rest:path}")
        async def store(request: AnyRequest) -> Response[Any]:
            owner, name, rest = (str(request.path_params[key]) for key in ("owner", "name", "rest"))
            self.tokens |= {value for value in [request.headers.get("authorization")] if value}
            return self._sent(f"{owner}/{name}:{rest.removeprefix('/')}", request)

        @get(
            [
                "/api/models/{owner:str}/{name:str}",
                "/api/models/{owner:str}/{name:str}/revision/{revision:str}",
            ]
        )
        async def describe(request: AnyRequest) -> Response[Any]:
            owner, name = (str(request.path_params[key]) for key in ("owner", "name"))
            revision = str(request.path_params.get("revision", "main"))
            self.listings.append(revision)
            return self._described(owner, name, revision)

        @get("/api/models")
        async def search(request: AnyRequest) -> Response[Any]:
            self.searches.append(dict(request.query_params))
            words = str(request.query_params.get("search", "")).casefold()
            repos = dict.fromkeys(key.partition(":")[0] for key in self.files)
            found = [name for name in repos if words in name.casefold()]
            return Response([{"id": name, "downloads": 7, "likes": 1} for name in found])

        routes = [resolve, store, describe, search]
        return Litestar(routes, openapi_config=None, logging_config=None)

    def _resolve(self, request: AnyRequest) -> Response[Any]:
        owner, name, rest = (str(request.path_params[key]) for key in ("owner", "name", "rest"))
        revision, _, file = rest.removeprefix("/").partition("/")
        wanted = request.headers.get("range", "")
        self.requests.append(f"{request.method} {revision} {wanted}".strip())
        if new := self.moved.get(f"{owner}/{name}"):
            return _redirected(f"/{new}/resolve/{revision}/{file}", 307)
        status, code = self._refusal(owner, name, revision, file)
        if status:
            return _refused(status, code, method=request.method)
        key = f"{owner}/{name}:{file}"
        facts = self._facts(key)
        if self.answers and request.method == "GET":
            return _refused(self.answers.pop(0), None)
        if self.storage:
            place = f"{self.storage}/storage/{owner}/{name}/{file}"
            return Response(None, status_code=302, headers={**facts, "Location": place})
        if request.method == "HEAD":
            return Response(None, headers=facts)
        return self._sent(key, request)

    def _refusal(self, owner: str, name: str, revision: str, file: str) -> tuple[int, str | None]:
        if owner == "refuses":
            return REFUSALS[name]
        if revision not in {"main", "v1", COMMIT}:
            return 404, "RevisionNotFound"
        if f"{owner}/{name}:{file}" not in self.files:
            return 404, "EntryNotFound"
        return 0, None

    def _described(self, owner: str, name: str, revision: str) -> Response[Any]:
        if new := self.moved.get(f"{owner}/{name}"):
            return _redirected(f"/api/models/{new}?blobs=true", 307)
        if owner == "refuses":
            return _refused(*REFUSALS[name])
        mine = f"{owner}/{name}:"
        names = [key.removeprefix(mine) for key in self.files if key.startswith(mine)]
        if not names or revision not in {"main", "v1", COMMIT}:
            return _refused(404, "RevisionNotFound" if names else "RepoNotFound")
        siblings = [_sibling(file, self.files[mine + file]) for file in names]
        return Response({"id": f"{owner}/{name}", "sha": COMMIT, "siblings": siblings})

    def _facts(self, key: str) -> dict[str, str]:
        content = self.files[key]
        return {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{self.etags.get(key, sha256_of(content))}"',
            "X-Linked-Size": str(self.sizes.get(key, len(content))),
            "Accept-Ranges": "bytes",
        }

    def _sent(self, key: str, request: AnyRequest) -> Response[Any]:
        headers = self._facts(key)
        content = self.lies.get(key, self.files[key])
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        found = found if self.ranges else None
        end = min(int(found[2]) + 1, len(content)) if found and found[2] else len(content)
        part = content[int(found[1]) : end] if found else content
        headers["Content-Length"] = str(len(part))
        if found:
            headers["Content-Range"] = f"bytes {found[1]}-{end - 1}/{len(content)}"
        status = 206 if found else 200
        if self.cuts:
            part = part[: self.cuts.pop(0)]
            return Stream(self._pieces(part), status_code=status, headers=headers)
        hold = self.stalls.pop(0) if self.stalls else None
        return Stream(self._pieces(part, hold), status_code=status, headers=headers)

    async def _pieces(self, part: bytes, hold: int | None = None) -> AsyncIterator[bytes]:
        """Yield a part in pieces; after `hold` bytes only when the test releases them."""
        for start in range(0, len(part), self.piece):
            if hold is not None and start >= hold:
                await asyncio.to_thread(self.released.wait, PATIENCE)
            piece = part[start : start + self.piece]
            self.sent += len(piece)
            yield piece


def sha256_of(content: bytes) -> str:
    """Return a content's SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    stored = {"sha256": sha256_of(content), "size": len(content), "pointerSize": 134}
    return {"rfilename": name, "size": len(content), "lfs": stored}


def _refused(status: int, code: str | None, *, method: str = "GET") -> Response[Any]:
    headers = {"X-Error-Code": code, "X-Error-Message": f"it is {code}"} if code else {}
    if status == 401 and not code:
        headers = {"X-Error-Message": "Invalid credentials in Authorization header"}
    body = None if method == "HEAD" else {"error": f"refused for {code}"}
    return Response(body, status_code=status, headers=headers)


def _redirected(location: str, status: int) -> Response[None]:
    return Response(None, status_code=status, headers={"Location": location})


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
        huggingface_hub.close_session()
        standin.released.set()
        server.should_exit = True
        thread.join(PATIENCE)


def isolate(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Give the client an empty cache, no token, no Xet and no bars.

    The client reads its variables when it is imported, so their constants are set here.
    """
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache.with_name("token")))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", constants.DOWNLOAD_CHUNK_SIZE)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


def point(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Send the client to an address."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
