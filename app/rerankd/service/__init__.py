"""The use case: requests in, rankings out; and the place that puts the rooms together."""

from rerankd.service.assembly import build, preflight, unlimited
from rerankd.service.service import ANYONE, QUERIES_AT_ONCE, Service, default_id

__all__ = [
    "ANYONE",
    "QUERIES_AT_ONCE",
    "Service",
    "build",
    "default_id",
    "preflight",
    "unlimited",
]
