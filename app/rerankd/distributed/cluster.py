"""A Ray cluster: joining it, its resources, and what we run on it. Imports Ray."""

from __future__ import annotations

import logging

import ray
from msgspec import Struct
from ray import serve

from rerankd.distributed.ray_errors import first_line, reason_in
from rerankd.errors import SettingsError
from rerankd.settings import Settings

REPLICAS, ENTRANCE = "rerankd-replicas", "rerankd"
"""Names of our two applications of Ray Serve."""


class Deployed(Struct, frozen=True, kw_only=True):
    """One of our applications on a cluster."""

    application: str
    state: str
    replicas: dict[str, int]
    """How many there are in each state."""
    message: str = ""


class Node(Struct, frozen=True, kw_only=True):
    """A node's cores, and what of its cores and GPUs is free."""

    cores: int
    free_cores: float
    free_gpus: float

    def fitting_now(self, cores: int, gpus: float) -> int:
        """Return how many replicas of so many cores and GPUs fit beside what is running."""
        by_cores = int(self.free_cores // cores)
        return min(by_cores, int(self.free_gpus // gpus)) if gpus else by_cores


class Room(Struct, frozen=True, kw_only=True):
    """The nodes of a cluster."""

    nodes: tuple[Node, ...]

    @property
    def smallest(self) -> int:
        """The fewest cores of a node that has any."""
        return min(node.cores for node in self.nodes if node.cores)

    def fitting(self, cores: int) -> int:
        """Return how many replicas of so many cores fit, at least one."""
        return max(1, sum(node.cores // cores for node in self.nodes))

    def fits_beside(self, wanted: int, running: int, cores: int, gpus: float) -> bool:
        """Return whether `wanted` + 1 replicas fit where `running` ones are now.

        Serve ends an old replica only while as many as wanted run, so it needs room for one more.
        """
        free = sum(node.fitting_now(cores, gpus) for node in self.nodes)
        return free > 0 and free + running > wanted


def connect(settings: Settings) -> None:
    """Join a cluster as a driver. Raises SettingsError where there is none."""
    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if ray.is_initialized():
        return
    try:
        ray.init(address=settings.ray_address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SettingsError(
            f"no Ray cluster at {settings.ray_address!r}; start one with `ray start --head` "
            f"and name it with --ray-address ({first_line(error)})",
            param="ray_address",
        ) from error


def room() -> Room:
    """Return the cluster's nodes. Raises SettingsError when no node has a core."""
    left = ray._private.state.available_resources_per_node()  # noqa: SLF001 - the public call sums all nodes up
    nodes = tuple(
        Node(
            cores=int(node["Resources"].get("CPU", 0)),
            free_cores=left.get(node["NodeID"], {}).get("CPU", 0.0),
            free_gpus=left.get(node["NodeID"], {}).get("GPU", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    )
    if not any(node.cores for node in nodes):
        raise SettingsError("no node of the Ray cluster has cores")
    return Room(nodes=nodes)


def living_nodes() -> int:
    """Return how many nodes the cluster has now, as far as it knows."""
    return sum(node["Alive"] for node in ray.nodes())


def share_of_cores(settings: Settings, there: Room) -> int:
    """Return the cores of a replica: those of the settings, else the smallest node's."""
    if settings.cores:
        return settings.cores
    return settings.workers * max(settings.threads, 1) if settings.workers else there.smallest


def status() -> list[Deployed]:
    """Return our applications on the cluster, the replicas first."""
    found = serve.status().applications
    return [
        Deployed(
            application=name,
            state=str(found[name].status.value),
            replicas={
                str(getattr(state, "value", state)): number
                for one in found[name].deployments.values()
                for state, number in one.replica_states.items()
            },
            message=reason_of(name),
        )
        for name in (REPLICAS, ENTRANCE)
        if name in found
    ]


def stop() -> None:
    """Remove the entrance and then the replicas; running requests finish.

    Where nothing else is served from the cluster, its nodes stop listening.
    """
    there = serve.status().applications
    for name in (ENTRANCE, REPLICAS):
        if name in there:
            serve.delete(name)
    if not there.keys() - {ENTRANCE, REPLICAS}:
        serve.shutdown()


def reason_of(name: str) -> str:
    """Return what went wrong with an application's deployments, in one line."""
    there = serve.status().applications.get(name)
    messages = [one.message for one in there.deployments.values()] if there else []
    return next((reason_in(message) for message in messages if message.strip()), "")
