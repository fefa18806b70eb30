"""Bodies of the routes that manage deployments and API keys while the server runs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from rerankd.auth.keys import Caller
from rerankd.deployments import Status
from rerankd.dialects.error_format import validation_error
from rerankd.domain import OnTimeout
from rerankd.settings import MODEL_SETTINGS
from rerankd.store import Key, Scope, Spec

ID_PATTERN = r"^[\w][\w.:-]{0,127}$"


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
        str | None, Meta(description="The name that requests use; default: the model's id")
    ] = None
    as_family: Annotated[
        str,
        Meta(
            description="Which reranker the file is, where its metadata doesn't say: a family such"
            " as `qwen3-reranker`, or a catalog id"
        ),
    ] = field(default="", name="as")
    pinned: Annotated[bool, Meta(description="Never unload it when idle or to free memory")] = False
    options: Annotated[
        dict[str, str | int | bool],
        Meta(
            description="Settings for the deployment, such as `gpu_layers`, `context` or `workers`",
            extra_json_schema={"propertyNames": {"enum": sorted(MODEL_SETTINGS)}},
        ),
    ] = field(default_factory=dict)


class ChangeRequest(Struct, forbid_unknown_fields=True):
    """The body of PATCH /v1/deployments/ID: what is left out stays as it is."""

    pinned: Annotated[
        bool | None, Meta(description="Never unload it when idle or to free memory")
    ] = None
    options: Annotated[
        dict[str, str | int | bool] | None,
        Meta(
            description="All settings of the deployment, in place of those it has",
            extra_json_schema={"propertyNames": {"enum": sorted(MODEL_SETTINGS)}},
        ),
    ] = None


class RestartRequest(Struct, forbid_unknown_fields=True):
    """The body of POST /v1/deployments/ID/restart, which may be left out."""

    accept_unproven: Annotated[
        bool,
        Meta(
            description="Serve it from now on although it failed to put relevant texts first in"
            " the load check; every answer says so"
        ),
    ] = False


class _Id(Struct):
    id: Annotated[str, Meta(pattern=ID_PATTERN)]


class DeploymentList(Struct, kw_only=True):
    """All deployments."""

    object: Literal["list"] = "list"
    data: list[Status]


class Deleted(Struct, kw_only=True):
    """Confirms that a deployment was stopped, or a key revoked."""

    id: str
    deleted: Literal[True] = True


Moment = Annotated[int, Meta(ge=0, le=10**11)]
Amount = Annotated[int, Meta(ge=0, le=10**12)]
Limit = Annotated[Amount | None, Meta(description="null: the server's setting; 0: no limit")]
OnTimeoutChoice = Annotated[
    OnTimeout | None,
    Meta(description="What deadlines end in: `error`, `partial`, or null: the server's setting"),
]
Models = Annotated[
    list[Annotated[str, Meta(pattern=ID_PATTERN)]], Meta(min_length=1, max_length=100)
]


class KeyRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /v1/keys."""

    name: Annotated[
        str, Meta(min_length=1, max_length=100, description="A name to recognise the key by")
    ]
    expires: Annotated[Moment | None, Meta(description="Unix time in seconds; null: never")] = None
    scopes: Annotated[
        list[Scope], Meta(min_length=1, max_length=2, description="What the key allows")
    ] = field(default_factory=lambda: ["inference"])
    models: Annotated[Models | None, Meta(description="Models the key works with; null: all")] = (
        None
    )
    requests_per_minute: Limit = None
    tokens_per_minute: Limit = None
    concurrent_requests: Limit = None
    on_timeout: OnTimeoutChoice = None


class KeyReply(Struct, kw_only=True):
    """An API key, without the key itself. Times are Unix seconds."""

    id: str
    name: str
    prefix: Annotated[
        str, Meta(description="The first characters of the key; empty for one from the settings")
    ]
    created: int
    expires: int | None
    scopes: tuple[Scope, ...]
    models: tuple[str, ...] | None
    last_used: int | None
    revoked: int | None
    requests_per_minute: Limit
    tokens_per_minute: Limit
    concurrent_requests: Limit
    on_timeout: OnTimeoutChoice


class NewKeyReply(KeyReply, kw_only=True):
    """A new API key."""

    key: Annotated[str, Meta(description="The key itself, which is never shown again")]


class KeyList(Struct, kw_only=True):
    """All API keys, including those revoked in the last 30 days."""

    object: Literal["list"] = "list"
    data: list[KeyReply]


class Me(Struct, kw_only=True):
    """The caller and what it may do. `keyed` is false for a caller without a key."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    models: tuple[str, ...] | None
    keyed: bool


def spec_of(wire: DeployRequest, name: str) -> Spec:
    """Build the spec of a deployment; `name` is the model's own. Raises InvalidRequest."""
    try:
        chosen = msgspec.convert({"id": wire.id or name}, _Id).id
    except msgspec.ValidationError as error:
        raise validation_error(str(error)) from error
    options = wire.options | ({"as_family": wire.as_family} if wire.as_family else {})
    return Spec(id=chosen, source=wire.model, pinned=wire.pinned, options=options)


def changed_spec_of(wire: ChangeRequest, status: Status) -> Spec:
    """Build the spec of a deployment that is to be changed."""
    return Spec(
        id=status.id,
        source=status.source,
        pinned=status.pinned if wire.pinned is None else wire.pinned,
        options=status.options if wire.options is None else wire.options,
    )


def key_reply_of(key: Key) -> KeyReply:
    """Describe a key, without the key itself."""
    return msgspec.convert(key, KeyReply, from_attributes=True)


def new_key_reply_of(key: Key, text: str) -> NewKeyReply:
    """Describe a new key, with the key itself."""
    return NewKeyReply(**msgspec.structs.asdict(key_reply_of(key)), key=text)


def me_of(caller: Caller) -> Me:
    """Describe who calls."""
    return msgspec.convert(caller, Me, from_attributes=True)
