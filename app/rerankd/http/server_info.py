"""GET /v1/server: what runs here, for how long, with how much memory, and what it can be told."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from typing import Annotated, Any

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Meta, Struct

from rerankd import __version__, machine
from rerankd.http.guard import MANAGEMENT
from rerankd.http.openapi.operation import BodySchema
from rerankd.http.openapi.route_doc import RouteDoc
from rerankd.http.openapi.tags import USAGE_TAG
from rerankd.http.wire import Encoded
from rerankd.service import Service
from rerankd.settings import MODEL_SETTINGS, Settings, table

STARTED = time.time()
"""When this process began to serve, near enough: this module is read then."""


class DeploymentOption(Struct, kw_only=True):
    """A setting that a deployment may have of its own."""

    name: str
    help: str
    kind: Annotated[str, Meta(description="`int`, `bool`, `str`, or `list` of numbers")]
    choices: tuple[str, ...]
    value: Annotated[
        str | int | bool, Meta(description="What the server has, so what counts without an own one")
    ]


class ServerInfo(Struct, kw_only=True):
    """The server's versions, times (Unix seconds) and memory (bytes)."""

    version: str
    engine: Annotated[str, Meta(description="The version of llama-cpp-python")]
    python: str
    system: str
    started: float
    uptime_seconds: float
    cores: Annotated[int, Meta(description="Those that this process may use")]
    memory_bytes: Annotated[int | None, Meta(description="What this process holds")]
    available_bytes: Annotated[int | None, Meta(description="What it may take besides")]
    models_bytes: Annotated[int, Meta(description="Estimated need of the models that are loaded")]
    deployment_options: tuple[DeploymentOption, ...]


@get(
    "/v1/server",
    opt=MANAGEMENT,
    doc=RouteDoc(tag=USAGE_TAG, reply=BodySchema(ServerInfo)),
    sync_to_thread=True,
)
def server_info(service: NamedDependency[Service]) -> Response[Any]:
    """Describe the server: versions, uptime, memory, and the options of deployments."""
    now = time.time()
    held = (one.memory_bytes for one in service.deployments.statuses if one.facts)
    return Encoded(
        ServerInfo(
            version=__version__,
            engine=version("llama-cpp-python"),
            python=platform.python_version(),
            system=f"{platform.system()} {platform.machine()}",
            started=STARTED,
            uptime_seconds=max(0.0, now - STARTED),
            cores=machine.available_cores(),
            memory_bytes=machine.resident_memory(os.getpid()),
            available_bytes=machine.available_memory(),
            models_bytes=sum(held),
            deployment_options=deployment_options_of(service.settings),
        )
    )


def deployment_options_of(settings: Settings) -> tuple[DeploymentOption, ...]:
    """Return the settings that a deployment may override, in the order of the settings."""
    return tuple(
        DeploymentOption(
            name=one.name,
            help=one.help,
            kind="list" if one.many else one.kind.__name__,
            choices=one.choices,
            value=_plain_value(getattr(settings, one.name)),
        )
        for one in table()
        if one.name in MODEL_SETTINGS
    )


def _plain_value(value: object) -> str | int | bool:
    if isinstance(value, tuple):
        return ",".join(f"{one:g}" for one in value)
    return value if isinstance(value, bool | int) else str(value)
