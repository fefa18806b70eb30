"""The records that the state file holds, and how those that make no sense are read.

A later version or a person may have written a record. One that can't be read never ends a start
or a request: a deployment is skipped, and a key keeps the server closed without opening it to
anyone.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from rerankd.domain import OnTimeout

logger = logging.getLogger(__name__)

LAST_MOMENT = 253_000_000_000
"""Unix seconds in the year 9987: later times have no date in Python."""

Scope = Literal["inference", "manage"]
"""What a key may be used for."""

Moment = Annotated[int, Meta(ge=0, le=LAST_MOMENT)]
KeyLimit = Annotated[int, Meta(ge=0)]

UNREADABLE_NAME = "(unreadable)"
UNREADABLE = (msgspec.DecodeError, UnicodeError, TypeError, RecursionError)
"""What decoding a record that makes no sense raises."""


class Spec(Struct, frozen=True, kw_only=True):
    """A model to serve: its source, its id, and settings of its own."""

    id: str
    source: str
    pinned: bool = False
    options: dict[str, str | int | bool] = field(default_factory=dict)


class Key(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An API key's record; of the key itself only its digest. Times are Unix seconds.

    A field that this version doesn't know may limit the key, so it makes the record unreadable.
    Defaults are not written, so that an earlier version reads keys that don't use new fields.
    """

    id: str
    name: str
    prefix: str
    """How the key begins, to recognise it by; empty for one from the settings."""
    digest: bytes
    created: Moment
    expires: Moment | None = None
    scopes: tuple[Scope, ...] = ("inference",)
    models: tuple[str, ...] | None = None
    """Deployments it may rank with; None: all."""
    requests_per_minute: KeyLimit | None = None
    """None: the limit that the settings give every key; 0: no limit. Likewise the next two."""
    tokens_per_minute: KeyLimit | None = None
    concurrent_requests: KeyLimit | None = None
    on_timeout: OnTimeout | None = None
    """What deadlines end in; None: as the settings say."""
    last_used: Moment | None = None
    revoked: Moment | None = None


def spec_from_row(deployment_id: Any, record: Any) -> Spec | None:
    """Return a stored deployment; None, with a warning, for one that can't be read."""
    try:
        spec = msgspec.json.decode(record, type=Spec)
    except UNREADABLE as error:
        logger.warning(
            "the stored deployment %r is skipped, because it can't be read (%s); deploy it again "
            "under this name to replace it",
            deployment_id,
            error,
        )
        return None
    if spec.id != deployment_id:
        logger.warning("the stored deployment %r is skipped: it names %r", deployment_id, spec.id)
        return None
    return spec


def key_from_row(
    key_id: Any, prefix: Any, record: Any, last_used: Any, revoked: Any
) -> tuple[Key, str]:
    """Return a stored key, and why it can't be read, empty if it can.

    One that can't be read admits nobody, but can be listed and revoked.
    """
    reason = ""
    try:
        known = msgspec.json.decode(record, type=Key)
        if (known.id, known.prefix) != (key_id, prefix):
            raise msgspec.ValidationError("its columns and its record differ")
    except UNREADABLE as error:
        reason = str(error)
        known = _unreadable_key(str(key_id), str(prefix))
    key = msgspec.structs.replace(
        known,
        last_used=last_used if _is_moment(last_used) else None,
        revoked=revoked if revoked is None or _is_moment(revoked) else 0,
    )
    return key, reason


def _unreadable_key(key_id: str, prefix: str) -> Key:
    # No digest is empty, so this matches no key.
    return Key(id=key_id, name=UNREADABLE_NAME, prefix=prefix, digest=b"", created=0, scopes=())


def _is_moment(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value <= LAST_MOMENT
