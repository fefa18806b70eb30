"""API keys: made, checked and revoked; only their digests are kept.

A key holds 256 random bits, so nobody can try them out, and one round of SHA-256 hides it as well
as a slow password hash would, at 1 µs a request. Keys from the settings may be short; their
digests never leave the process.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Struct

from rerankd.auth.key_file import KeyFile
from rerankd.auth.last_uses import LastUses
from rerankd.auth.rate_limits import KeyLimits
from rerankd.domain import OnTimeout
from rerankd.errors import Conflict, NotFound, Unauthorized
from rerankd.settings import Settings
from rerankd.store import Key, Scope, Store
from rerankd.threads import WorkerPool

KEY_MARK = "rerankd_"
SECRET_BYTES = 32
PREFIX_LENGTH = len(KEY_MARK) + 8
"""Characters of a key that are shown; 208 of its 256 bits stay secret."""

ALL_SCOPES: tuple[Scope, ...] = ("inference", "manage")
MOST_KEYS = 1000
"""Keys in force at once."""

REVOKED_SECONDS = 30 * 24 * 3600
"""How long a revoked key stays in the list."""

USED_SECONDS = 60
"""How far the stored time of a key's last use may lag behind."""


class Caller(Struct, frozen=True, kw_only=True):
    """Who calls, and what it may do."""

    id: str = ""
    name: str = ""
    scopes: tuple[Scope, ...] = ALL_SCOPES
    models: tuple[str, ...] | None = None
    keyed: bool = False
    limits: KeyLimits = KeyLimits()
    on_timeout: OnTimeout | None = None
    """What its requests' deadlines end in where they don't say; None: as in the settings."""

    def may_use(self, model: str) -> bool:
        """Return whether the caller may use this deployment."""
        return self.models is None or model in self.models


def make_key(  # noqa: PLR0913 - one parameter a column
    name: str,
    *,
    now: float,
    scopes: Sequence[Scope] = ("inference",),
    expires: int | None = None,
    models: Sequence[str] | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    concurrent_requests: int | None = None,
    on_timeout: OnTimeout | None = None,
) -> tuple[Key, str]:
    """Return a new key's record, and the key itself, which is stored nowhere."""
    text = KEY_MARK + secrets.token_urlsafe(SECRET_BYTES)
    key = Key(
        id=f"key-{secrets.token_hex(6)}",
        name=name,
        prefix=text[:PREFIX_LENGTH],
        digest=key_digest(text),
        created=int(now),
        expires=expires,
        scopes=tuple(dict.fromkeys(scopes)),
        models=None if models is None else tuple(dict.fromkeys(models)),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent_requests=concurrent_requests,
        on_timeout=on_timeout,
    )
    return key, text


def key_digest(text: str) -> bytes:
    """Return the digest by which a key is stored."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def keep_key(store: Store, key: Key, now: float) -> None:
    """Store a new key. Raises Conflict when there are too many, StateError."""
    if sum(one.revoked is None for one in store.api_keys()) >= MOST_KEYS:
        raise Conflict(f"there are {MOST_KEYS} keys, which is the limit; revoke one first")
    store.add_key(key, forget_before=int(now) - REVOKED_SECONDS)


def key_store_of(settings: Settings, store: Store | None = None) -> KeyStore:
    """Return the keys in force, with the settings' limits; without a `store`, nothing is kept."""
    defaults = KeyLimits(
        requests_per_minute=settings.key_requests_per_minute,
        tokens_per_minute=settings.key_tokens_per_minute,
        concurrent_requests=settings.key_concurrent_requests,
    )
    return KeyStore(settings.api_keys, store, defaults=defaults)


class KeyStore:
    """The keys in force: those of the settings, and those that the store holds.

    Another process may change the store, so every check looks at the file's time of change; a
    revoked key is refused from the next request on. See `key_file` for a file that can't be read.
    Used on one event loop.
    """

    def __init__(
        self,
        given: Iterable[str] = (),
        store: Store | None = None,
        *,
        defaults: KeyLimits = KeyLimits(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`given` are the keys of the settings; without a `store`, others last as long as this."""
        self._given = tuple(_from_settings(text, n, clock()) for n, text in enumerate(given, 1))
        self._store = store
        self._defaults = defaults
        self._clock = clock
        self._stored: dict[str, Key] = {}
        self._revoked: dict[str, int] = {}
        """When keys were revoked here that no reading has shown as revoked yet, by their ids."""
        self._callers = {key.id: self._caller(key) for key in self._given}
        self._used: dict[str, int] = {}
        self._file = KeyFile(store, self._take_reading, monotonic) if store else None
        self._uses = LastUses(store) if store else None
        # Apart from reading and the times of use: neither waits for the others.
        self._writer = WorkerPool("write-keys", 1)

    @property
    def requires_key(self) -> bool:
        """Whether requests need a key; an expired key still closes the server to those without."""
        return bool(self._given) or any(key.revoked is None for key in self._stored.values())

    @property
    def keys(self) -> list[Key]:
        """All keys, those of the settings first, revoked ones included."""
        found = (*self._given, *self._stored.values())
        return [msgspec.structs.replace(key, last_used=self._last_used(key)) for key in found]

    def load(self) -> None:
        """Read the store now. Raises StateError."""
        if self._file:
            self._file.load()

    async def refresh(self) -> None:
        """Read the store again if it has changed.

        Raises StateUnavailable when it could not be read for too long to know who may call; keys
        of the settings don't depend on it.
        """
        if self._file:
            await self._file.refresh()
            if self._file.failure and not self._given:
                raise self._file.failure

    def caller(self, text: str) -> Caller:
        """Return whose key this is, in a time that reveals nothing of others. Raises Unauthorized.

        A stored key is found by its prefix, which is no secret, and compared by its digest.
        Raises StateUnavailable for one that could not be looked up for too long.
        """
        key = self._find(key_digest(text), text[:PREFIX_LENGTH])
        if self._file and self._file.failure and key not in self._given:
            raise self._file.failure
        if key is None:
            raise Unauthorized("the API key is not valid")
        if key.revoked is not None:
            raise Unauthorized("the API key was revoked")
        if key.expires is not None and self._clock() >= key.expires:
            raise Unauthorized("the API key has expired")
        self._note_use(key)
        return self._callers[key.id]

    async def add(self, key: Key) -> None:
        """Put a new key into force. Raises Conflict, StateError."""
        if self._store:
            await self._writer.run(keep_key, self._store, key, self._clock())
            await self.refresh()
        if key.prefix not in self._stored:  # nothing is stored, or it can't be read just now
            self._take({**self._stored, key.prefix: key})

    async def revoke(self, key_id: str) -> None:
        """Refuse a key from now on. Raises NotFound, Conflict for a key of the settings."""
        if any(key.id == key_id for key in self._given):
            raise Conflict("this key comes from the settings; remove it there and restart")
        key = next((one for one in self._stored.values() if one.id == key_id), None)
        if key is None or key.revoked is not None:
            raise NotFound(f"no active API key {key_id!r}")
        now = int(self._clock())
        if self._store:
            await self._writer.run(self._store.revoke_key, key_id, now)
        # At once: the file may be unreadable now, or a reading under way may have begun before.
        self._revoked[key_id] = now
        self._take(self._stored)
        if self._store:
            await self.refresh()

    # Inside

    def _take_reading(self, stored: dict[str, Key]) -> None:
        active = {key.id for key in stored.values() if key.revoked is None}
        self._revoked = {one: when for one, when in self._revoked.items() if one in active}
        self._take(stored)

    def _take(self, stored: dict[str, Key]) -> None:
        self._stored = stored = {
            prefix: msgspec.structs.replace(key, revoked=self._revoked.get(key.id, key.revoked))
            for prefix, key in stored.items()
        }
        self._callers = {key.id: self._caller(key) for key in (*self._given, *stored.values())}

    def _find(self, found: bytes, prefix: str) -> Key | None:
        matches = [key for key in self._given if hmac.compare_digest(key.digest, found)]
        stored = self._stored.get(prefix)
        if stored and hmac.compare_digest(stored.digest, found):
            return stored
        return matches[0] if matches else None

    def _caller(self, key: Key) -> Caller:
        own = {
            name: getattr(self._defaults if getattr(key, name) is None else key, name)
            for name in KeyLimits.__struct_fields__
        }
        return Caller(
            id=key.id,
            name=key.name,
            scopes=key.scopes,
            models=key.models,
            keyed=True,
            limits=KeyLimits(**own),
            on_timeout=key.on_timeout,
        )

    def _last_used(self, key: Key) -> int | None:
        return max(filter(None, (key.last_used, self._used.get(key.id))), default=None)

    def _note_use(self, key: Key) -> None:
        now = int(self._clock())
        before = self._used.get(key.id) or key.last_used or 0
        if now - before < USED_SECONDS:
            return
        self._used[key.id] = now
        if self._uses and key.prefix:
            self._uses.note(key.id, now)


def _from_settings(text: str, number: int, now: float) -> Key:
    return Key(
        id=f"settings-{number}",
        name="from settings",
        prefix="",
        digest=key_digest(text),
        created=int(now),
        scopes=ALL_SCOPES,
    )
