"""Services and servers for tests: the real application over a fake engine, or over a real one."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from litestar.testing import TestClient
from litestar.types import ASGIApp

from rerankd.domain import Prompt, StepLimits, TokenIds
from rerankd.engine.planning.devices import Offload
from rerankd.engine.planning.sizing import Sizes
from rerankd.families.prompt_format import PictureFormat
from rerankd.http.application import create_app
from rerankd.http.connections import Connections, protocol_for
from rerankd.http.server import descriptor_limit, limits_of
from rerankd.service import Service, build
from rerankd.settings import Settings
from rerankd.sources import resolve as sources
from rerankd.sources.gguf import Header, Verdict
from rerankd.telemetry.observers import Telemetry

from support.fakes import LIMITS, PATIENCE, FakeBackend, FakeTokenizer, Gate
from support.places import DATA

MODELS = DATA / "models"
CROSS_ENCODER: dict[str, Any] = {"catalog_dir": str(MODELS), "model": "cross-mini-en"}
"""Settings of the tests' cross-encoder, in whose layout the fake engine answers."""
SERVED = CROSS_ENCODER | {"model_id": "rerank-mini-en"}
"""The same under the name that golden requests and the API's examples ask for."""

_is_embedded = sources.is_embedded
_known_files: set[Path] = set()


def _is_known(located: sources.ResolvedModel) -> bool:
    """Take the tests' models for ones that came with the program: no child has to try them."""
    manifest = located.manifest
    own = located.path in _known_files or (manifest is not None and manifest.folder == MODELS)
    return own or _is_embedded(located)


sources.is_embedded = _is_known


@contextmanager
def known_files(*files: Path) -> Iterator[None]:
    """Let models that a test wrote be served without their load check."""
    _known_files.update(files)
    try:
        yield
    finally:
        _known_files.difference_update(files)


POISON, NAN = 100, 101
"""Ids of the words `poison`, which makes a step raise, and `nan`, which gets no number."""


def by_length(row: TokenIds) -> float:
    """Score a row by its length, so that every score is known beforehand."""
    return float(len(row)) - 8.0


class FakeEngine:
    """An open model without llama.cpp."""

    def __init__(
        self,
        *,
        workers: int = 1,
        gate: Gate | None = None,
        limits: StepLimits = LIMITS,
        score: Callable[[TokenIds], float] = by_length,
        loading: threading.Event | None = None,
    ) -> None:
        """`loading` holds the opening of the model until it is set."""
        self._loading = loading
        self.tokenizer = FakeTokenizer()
        self.tokenizer.tokenize("poison nan")
        self.backends = tuple(
            FakeBackend(score=score, gate=gate, limits=limits, raises_on=[POISON], nans_on=[NAN])
            for _ in range(workers)
        )
        self.sizes = Sizes(workers=workers, threads=1, batch=64, sequences=8, limits=limits)
        self.gpu_layers = 0
        self.offload = Offload(layers=0, of=7, reason="a fake has no device")
        self.pictures: PictureFormat | None = None
        self.closed = False

    def costs(self, prompt: Prompt) -> tuple[int, ...]:
        """Nothing is known beforehand."""
        del prompt
        return ()

    def close(self) -> None:
        self.closed = True

    def open(
        self, _header: Header, _verdict: Verdict, _settings: Settings, _mmproj: Path | None = None
    ) -> FakeEngine:
        """Be what `rerankd.engine.open_engine` returns."""
        if self._loading and not self._loading.wait(PATIENCE):
            raise TimeoutError("the test never let the model load")
        return self

    @property
    def rows_run(self) -> int:
        """How many documents were given to the backends."""
        return sum(len(part.rows) for one in self.backends for step in one.steps for part in step)


def service_of(engine: FakeEngine | None = None, *, start: bool = True, **settings: Any) -> Service:
    """Return a service over a fake engine, ready unless `start` is off."""
    own = Settings(**{**SERVED, **settings})
    service = build(own, (engine or FakeEngine()).open, observer=Telemetry())
    if start:
        asyncio.run(service.start())
    return service


def app_of(service: Service) -> ASGIApp:
    """Return the whole application, as `rerankd serve` puts it together."""
    return create_app(service, telemetry_of(service))


def telemetry_of(service: Service) -> Telemetry | None:
    """Return the telemetry that a service reports to, if that is what it reports to."""
    return service.observer if isinstance(service.observer, Telemetry) else None


@contextmanager
def client_of(service: Service) -> Iterator[TestClient[Any]]:
    """Yield an HTTP client of the application over a service, which is closed afterwards."""
    app, url = app_of(service), "http://127.0.0.1"
    try:
        with TestClient(app, base_url=url, raise_server_exceptions=False) as client:
            yield client
    finally:
        asyncio.run(service.close())


@contextmanager
def server_of(service: Service, *, wait: bool = True) -> Iterator[str]:
    """Serve on a free loopback port in a thread of its own; yield the base URL.

    A service that is not started yet is started there, and it is closed there; without `wait`
    the URL comes while it still loads.
    """
    running = _Running(service, wait=wait)
    running.start()
    try:
        assert running.announced.wait(PATIENCE)
        yield running.url
    finally:
        running.server.should_exit = True
        running.join()


class _Running(threading.Thread):
    """A server's thread, which says when it listens so that nobody has to ask again and again."""

    def __init__(self, service: Service, *, wait: bool) -> None:
        super().__init__()
        self._wait = wait
        self.announced = threading.Event()
        self.url = ""
        self._service = service
        limits = limits_of(service.settings, descriptor_limit())
        config = uvicorn.Config(
            app_of(service),
            http=protocol_for(Connections(limits)),  # `rerankd serve`'s own parser
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        self.server = uvicorn.Server(config)

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        # Named as TCP, as `rerankd serve` does: otherwise each answer waits 40 ms for an
        # acknowledgement, because asyncio doesn't set TCP_NODELAY.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(100)
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            loading = asyncio.create_task(self._start())
            if self._wait:
                await loading
            self.announced.set()
            await self.server.serve(sockets=[listener])
        await self._service.close()
        await loading

    async def _start(self) -> None:
        if not self._service.deployments.statuses:
            await self._service.start()


def rerank(client: httpx.Client, **body: Any) -> httpx.Response:
    """Post a body to /v1/rerank."""
    return client.post("/v1/rerank", json=body)
