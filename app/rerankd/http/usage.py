"""The routes that report usage, and log lines about a deployment."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from rerankd.errors import InvalidRequest, ModelNotFound
from rerankd.http.deployments import DeploymentId
from rerankd.http.guard import MANAGEMENT
from rerankd.http.openapi.operation import BodySchema
from rerankd.http.openapi.route_doc import RouteDoc
from rerankd.http.openapi.tags import DEPLOYMENTS_TAG, USAGE_TAG
from rerankd.http.request_line import deployment_id_of
from rerankd.http.wire import Encoded
from rerankd.logs import LogLine, recent_lines
from rerankd.service import Service
from rerankd.telemetry.observers import Telemetry
from rerankd.telemetry.usage import WINDOWS, UsageReport


class LineList(Struct, frozen=True, kw_only=True):
    """Lines of the log, oldest first, in the style of OpenAI's lists."""

    object: Literal["list"] = "list"
    data: tuple[LogLine, ...]


@get(
    "/v1/usage",
    opt=MANAGEMENT,
    doc=RouteDoc(tag=USAGE_TAG, reply=BodySchema(UsageReport), errors=(InvalidRequest,)),
    sync_to_thread=True,
)
def usage(
    telemetry: NamedDependency[Telemetry],
    window: Annotated[
        str,
        QueryParameter(
            enum=tuple(WINDOWS),
            description="How far back: `hour` in steps of a minute, `day` of 15 minutes, `week` of"
            " an hour, `quarter` (92 days) of a day in UTC",
        ),
    ] = "hour",
) -> Response[Any]:
    """Report what each model and API key used."""
    for name in WINDOWS:
        if window == name:
            return Encoded(telemetry.usage.report(name))
    raise InvalidRequest(f"window must be one of {', '.join(WINDOWS)}", param="window")


@get(
    "/v1/deployments/{deployment_id:str}/logs",
    opt=MANAGEMENT,
    doc=RouteDoc(tag=DEPLOYMENTS_TAG, reply=BodySchema(LineList), errors=(ModelNotFound,)),
    sync_to_thread=False,
)
def logs(deployment_id: DeploymentId, service: NamedDependency[Service]) -> Response[Any]:
    """Return the last log lines about a deployment."""
    wanted = deployment_id_of(deployment_id)
    service.deployments.status(wanted)
    return Encoded(LineList(data=recent_lines().of(wanted)))
