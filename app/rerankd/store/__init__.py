"""What survives a restart, in SQLite files, and the modes of all files in the state folder."""

from rerankd.store.database import STATE_FILE, STATE_SCHEMA
from rerankd.store.records import Key, Scope, Spec
from rerankd.store.state_store import Stamp, Store
from rerankd.store.usage_store import USAGE_FILE, UsageAmounts, UsagePlace, UsageStore

__all__ = [
    "STATE_FILE",
    "STATE_SCHEMA",
    "USAGE_FILE",
    "Key",
    "Scope",
    "Spec",
    "Stamp",
    "Store",
    "UsageAmounts",
    "UsagePlace",
    "UsageStore",
]
