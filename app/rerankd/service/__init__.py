"""The use case: requests in, rankings out; and the place that puts the rooms together."""

from rerankd.service.assembly import build, preflight, unlimited
from rerankd.service.model_choice import ModelChoice, default_id
from rerankd.service.service import ANYONE, QUERIES_AT_ONCE, Service

__all__ = [
    "ANYONE",
    "QUERIES_AT_ONCE",
    "ModelChoice",
    "Service",
    "build",
    "default_id",
    "preflight",
    "unlimited",
]
