"""The dialect of deployments: what is served, to be changed while the server runs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from app.deployments import Status
from app.dialects.native import invalid
from app.errors import MalformedJson
from app.store import Spec

ID = r"^[\w][\w.:-]{0,127}$"


class DeployRequest(Struct, forbid_unknown_fields=True):
    """The body of POST /v1/deployments."""

    model: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1024,
            description="A catalog id, a path on the server, or `hf:owner/repo:file.gguf`",
        ),
    ]
    id: Annotated[
        str | None, Meta(description="The name requests use; default: the model's own")
    ] = None
    pinned: Annotated[bool, Meta(description="Never unload it for idle time or memory")] = False
    options: Annotated[
        dict[str, str | int | bool],
        Meta(description="Settings of its own, such as `gpu_layers`, `context` or `workers`"),
    ] = field(default_factory=dict)


class _Id(Struct):
    id: Annotated[str, Meta(pattern=ID)]


class DeploymentList(Struct, kw_only=True):
    """All deployments."""

    object: Literal["list"] = "list"
    data: list[Status]


class Deleted(Struct, kw_only=True):
    """The answer to a stop."""

    id: str
    deleted: Literal[True] = True


_decoder = msgspec.json.Decoder(DeployRequest)


def read(body: bytes) -> DeployRequest:
    """Decode a body. Raises MalformedJson, or InvalidRequest with the field's path."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedJson(f"the body is not valid JSON: {error}") from error


def spec(wire: DeployRequest, name: str) -> Spec:
    """Build what to deploy; `name` is the model's own. Raises InvalidRequest for a bad id."""
    try:
        chosen = msgspec.convert({"id": wire.id or name}, _Id).id
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from error
    return Spec(id=chosen, source=wire.model, pinned=wire.pinned, options=wire.options)
