"""The models that are served, and the state of each."""

from rerankd.deployments.registry import AUTO, Deployments
from rerankd.deployments.state import LOADING_RETRY, TRANSITIONS, Deployment, Loader, State, Status

__all__ = [
    "AUTO",
    "LOADING_RETRY",
    "TRANSITIONS",
    "Deployment",
    "Deployments",
    "Loader",
    "State",
    "Status",
]
