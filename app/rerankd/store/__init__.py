"""What survives a restart, in one SQLite file, and the modes of all files in the state folder."""

from rerankd.store.database import STATE_FILE, STATE_SCHEMA
from rerankd.store.records import Key, Scope, Spec
from rerankd.store.state_store import Stamp, Store

__all__ = ["STATE_FILE", "STATE_SCHEMA", "Key", "Scope", "Spec", "Stamp", "Store"]
