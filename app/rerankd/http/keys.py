"""The routes of API keys: create, list and revoke them, and show a caller its own rights."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import PathParameter

from rerankd.auth import keys
from rerankd.auth.keys import KeyStore
from rerankd.dialects import management
from rerankd.errors import Conflict, InvalidRequest, NotFound, StateError
from rerankd.http.guard import MANAGEMENT, caller_of
from rerankd.http.openapi.operation import BodySchema
from rerankd.http.openapi.route_doc import RouteDoc
from rerankd.http.openapi.tags import KEYS_TAG
from rerankd.http.wire import MANAGEMENT_BYTES, Encoded, body_of, decode
from rerankd.service import Service


@get(
    "/v1/me",
    doc=RouteDoc(tag=KEYS_TAG, reply=BodySchema(management.Me)),
    sync_to_thread=False,
)
def me(request: Request[Any, Any, Any]) -> Response[Any]:
    """Show what the caller may do."""
    return Encoded(management.me_of(caller_of(request)))


@get(
    "/v1/keys",
    opt=MANAGEMENT,
    doc=RouteDoc(tag=KEYS_TAG, reply=BodySchema(management.KeyList)),
)
async def list_keys(ring: NamedDependency[KeyStore]) -> Response[Any]:
    """List all keys, including recently revoked ones."""
    return Encoded(management.KeyList(data=[management.key_reply_of(key) for key in ring.keys]))


@post(
    "/v1/keys",
    status_code=201,
    opt=MANAGEMENT,
    doc=RouteDoc(
        tag=KEYS_TAG,
        request=BodySchema(management.KeyRequest, {"name": "search", "scopes": ["inference"]}),
        reply=BodySchema(management.NewKeyReply),
        errors=(Conflict, StateError),
    ),
    request_max_body_size=MANAGEMENT_BYTES,
)
async def create_key(
    request: Request[Any, Any, Any],
    service: NamedDependency[Service],
    ring: NamedDependency[KeyStore],
) -> Response[Any]:
    """Create a key, which is never shown again."""
    body = await body_of(request, service.settings.read_timeout)
    wire = decode(body, request.headers.get("content-type", ""), management.KeyRequest)
    now = time.time()
    if wire.expires is not None and wire.expires <= now:
        raise InvalidRequest("expires must be in the future", param="expires")
    if not ring.requires_key and "manage" not in wire.scopes:
        raise InvalidRequest(
            "the first key needs the scope manage, because managing the server then requires a key",
            param="scopes",
        )
    key, text = keys.make_key(now=now, **msgspec.structs.asdict(wire))
    await ring.add(key)
    reply = management.new_key_reply_of(key, text)
    return Encoded(reply, status_code=201, headers={"Cache-Control": "no-store"})


@delete(
    "/v1/keys/{key_id:str}",
    status_code=200,
    opt=MANAGEMENT,
    doc=RouteDoc(
        tag=KEYS_TAG,
        reply=BodySchema(management.Deleted),
        errors=(NotFound, Conflict, StateError),
    ),
)
async def revoke_key(
    key_id: Annotated[str, PathParameter(description="The id of the key, not the key itself")],
    ring: NamedDependency[KeyStore],
) -> Response[Any]:
    """Revoke a key."""
    await ring.revoke(key_id)
    return Encoded(management.Deleted(id=key_id))
