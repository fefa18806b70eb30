"""The routes that tell what was used, and what the log has about a deployment."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from rerankd.errors import InvalidRequest
from rerankd.http.guard import MANAGEMENT
from rerankd.http.routes import as_json
from rerankd.logs import Line, recent_lines
from rerankd.service import Service
from rerankd.telemetry.observers import Telemetry
from rerankd.telemetry.usage import WINDOWS


class LineList(Struct, frozen=True, kw_only=True):
    """Lines of the log, oldest first, in the style of OpenAI's lists."""

    object: Literal["list"] = "list"
    data: tuple[Line, ...]


@get("/v1/usage", opt=MANAGEMENT, sync_to_thread=True)
def usage(
    telemetry: NamedDependency[Telemetry],
    window: Annotated[str, QueryParameter(max_length=20)] = "hour",
) -> Response[Any]:
    """Tell what each model and API key used in the last hour or day."""
    for name in WINDOWS:
        if window == name:
            return as_json(telemetry.usage.report(name))
    raise InvalidRequest(f"window must be one of {', '.join(WINDOWS)}", param="window")


@get(
    "/v1/deployments/{deployment_id:str}/logs",
    opt=MANAGEMENT,
    sync_to_thread=False,
)
def logs(deployment_id: FromPath[str], service: NamedDependency[Service]) -> Response[Any]:
    """Tell the last lines of the log about one deployment."""
    service.deployments.status(deployment_id)
    return as_json(LineList(data=recent_lines().of(deployment_id)))
