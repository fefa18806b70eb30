"""Which models are served, and in which state each is."""

from app.deployments.registry import Deployments
from app.deployments.state import LOADING_RETRY, TRANSITIONS, Deployment, State, Status, Steps

__all__ = ["LOADING_RETRY", "TRANSITIONS", "Deployment", "Deployments", "State", "Status", "Steps"]
