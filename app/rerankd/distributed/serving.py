"""Replicas on a Ray cluster behind one address. Imports Ray.

Two applications of Ray Serve: the replicas, and the entrance to them, one a node. An update
touches the replicas alone, and the old ones serve until the new ones do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from ray import serve
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, HTTPOptions, ProxyLocation
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus

from rerankd import __version__
from rerankd.distributed.autoscaling import TokenPolicy
from rerankd.distributed.calls import ForwardedRequest, Part
from rerankd.distributed.cluster import (
    ENTRANCE,
    REPLICAS,
    Room,
    living_nodes,
    reason_of,
    room,
    share_of_cores,
)
from rerankd.distributed.ingress import Ingress
from rerankd.distributed.replica import Replica
from rerankd.errors import ModelFailed, SettingsError
from rerankd.lru import digest_of
from rerankd.settings import Settings
from rerankd.store import Key

logger = logging.getLogger(__name__)

LOST = (RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError)
"""What Ray raises when the process that should have answered is gone."""
MOST_FORWARDED = 10_000
"""Requests that an entrance holds at once; replicas have their own bound, `max_requests`."""
DEPLOY_ATTEMPTS = 2
LISTENING_SECONDS = 60
PLACING_SECONDS = 1800
"""How long replicas may take to be placed, fetch their model and load it."""
TELL_SECONDS = 30
REPLICA = "Replica"
"""The replicas' deployment in their application."""
SCALING = ("min_replicas", "max_replicas", "replica_tokens")
"""Settings that change how many replicas there are and not what one of them is."""


class Pace(Struct, frozen=True, kw_only=True):
    """How fast the number of replicas follows the tokens, in seconds."""

    look_back: float = 30.0
    interval: float = 5.0
    up: float = 10.0
    down: float = 300.0


def deploy(settings: Settings, keys: Sequence[Key] = (), *, pace: Pace | None = None) -> Room:
    """Put replicas with these settings onto the cluster, or change those that are there.

    Returns when the new ones serve and no old one takes requests. Raises SettingsError, and
    ModelFailed with the reason when the model can't be served; old replicas then go on.
    """
    if settings.max_replicas < settings.min_replicas:
        raise SettingsError("max_replicas is less than min_replicas", param="max_replicas")
    there = room()
    own = msgspec.structs.replace(settings, cores=share_of_cores(settings, there))
    _open_ports(settings)
    running = _running(REPLICAS, REPLICA)
    wanted = min(max(running, own.min_replicas), own.max_replicas)
    beside = there.fits_beside(wanted, running, own.cores, own.replica_gpus)
    if running and not beside:
        logger.warning("there is no room for another replica, so replicas are replaced in place")
    options = _options(own, pace or Pace(), beside=beside)
    replicas = serve.deployment(Replica, name=REPLICA, **options)
    known = _of_version(replicas, _version(own, keys, again=_has_failed()))
    _place(known.bind(own, tuple(keys)), REPLICAS, None)
    _open_ingresses(settings)
    _await_ports()
    return there


def _version(settings: Settings, keys: Sequence[Key], *, again: bool) -> str:
    """Return what makes replicas need replacing, not just a change in their number.

    `again` makes it a new one, for replicas whose last update failed.
    """
    try:
        changed = Path(settings.model).expanduser().stat().st_mtime_ns
    except (OSError, RuntimeError):  # no file of this machine, or ~nobody/model.gguf
        changed = 0
    alike = msgspec.structs.replace(settings, **dict.fromkeys(SCALING, 0))
    attempt = time.time_ns() if again else 0
    return digest_of(__version__, repr((alike, tuple(keys), changed, attempt))).hex()[:16]


def _of_version(deployment: Any, version: str) -> Any:
    """Return a deployment that Serve leaves alone if its version is there already.

    Without one, Serve takes a random version and so replaces all replicas at each call; the
    option is hidden in its API but kept in its deployments.
    """
    return deployment.options(version=version, _internal=True)


def _has_failed() -> bool:
    known = serve.status().applications.get(REPLICAS)
    return known is not None and known.status == ApplicationStatus.DEPLOY_FAILED


def _running(application: str, deployment: str) -> int:
    """Return how many replicas of a deployment run."""
    there = serve.status().applications.get(application)
    known = there.deployments.get(deployment) if there else None
    return sum(
        number
        for state, number in (known.replica_states.items() if known else ())
        if getattr(state, "value", state) == "RUNNING"
    )


def _open_ports(settings: Settings) -> None:
    """Have every node listen. Raises SettingsError when they do so elsewhere already."""
    options = HTTPOptions(host=settings.host.strip("[]"), port=settings.port)
    try:
        serve.start(proxy_location=ProxyLocation.EveryNode, http_options=options)
    except (RayActorError, TimeoutError):
        # Serve gives a node's proxy few seconds to start, and then tries another by itself.
        logger.warning("a node is slow to start listening")
        serve.start(proxy_location=ProxyLocation.EveryNode, http_options=options)
    now = _get_global_client().http_config
    if (now.host, now.port) != (options.host, options.port):
        raise SettingsError(
            f"the cluster already listens on {now.host} port {now.port}; stop that first "
            "(`rerankd ray stop`, or `serve shutdown` if something else serves from it)",
            param="port",
        )


def _await_ports() -> None:
    """Wait until every node listens; log those that don't, since the others serve."""
    end = time.monotonic() + LISTENING_SECONDS
    while silent := [node for node, it in serve.status().proxies.items() if it != "HEALTHY"]:
        if time.monotonic() > end:
            logger.warning("%d nodes are not listening yet", len(silent))
            return
        time.sleep(0.5)


def _options(settings: Settings, pace: Pace, *, beside: bool) -> dict[str, Any]:
    """Return the options of the replicas; `beside` has new ones start before old ones end.

    Without room for that they would wait for ever, so old ones then end first.
    """
    policy = AutoscalingPolicy(
        policy_function=TokenPolicy,
        policy_kwargs={"tokens_per_replica": settings.replica_tokens},
    )
    scaling = AutoscalingConfig(
        min_replicas=settings.min_replicas,
        max_replicas=settings.max_replicas,
        look_back_period_s=pace.look_back,
        metrics_interval_s=pace.interval,
        upscale_delay_s=pace.up,
        downscale_delay_s=pace.down,
        policy=policy,
    )
    return {
        "autoscaling_config": scaling,
        "ray_actor_options": {"num_cpus": settings.cores, "num_gpus": settings.replica_gpus},
        "max_ongoing_requests": settings.max_requests,
        "graceful_shutdown_timeout_s": settings.drain_timeout,
        "max_surge_percent": 100 if beside else 0,
        "max_constructor_retry_count": DEPLOY_ATTEMPTS,
    }


def _open_ingresses(settings: Settings) -> None:
    """Put an entrance onto each node; those that are there stay, if they are the same.

    A proxy prefers the entrance on its own node, so a node that is lost takes no request of
    another's with it. Ray lists a lost node for a while, so the count is set right afterwards.
    """
    limits = (settings.max_body_bytes, settings.read_timeout, settings.drain_timeout)
    kind = f"Ingress-{digest_of(__version__, repr(limits)).hex()[:8]}"
    nodes = 0
    while nodes != (now := len(room().nodes)):
        nodes = now
        ingresses = _ingresses(settings, nodes, kind)
        _place(ingresses, ENTRANCE, "/", lambda: _running(ENTRANCE, kind) >= living_nodes())


def _ingresses(settings: Settings, nodes: int, kind: str) -> Any:
    """Return so many entrances, whose name and version distinguish them from others."""
    door = Ingress(
        ReplicaClient(),
        LOST,
        max_body_bytes=settings.max_body_bytes,
        read_timeout=settings.read_timeout,
    )
    deployment = serve.deployment(
        serve.ingress(door)(),
        name=kind,
        num_replicas=nodes,
        max_replicas_per_node=1,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=MOST_FORWARDED,
        graceful_shutdown_timeout_s=settings.drain_timeout,
    )
    return _of_version(deployment, kind).bind()


class ReplicaClient:
    """Asks whichever replica Ray Serve chooses; a value until it is first used."""

    def __init__(self) -> None:
        self._handle: Any = None

    async def __call__(self, call: ForwardedRequest) -> AsyncGenerator[Part, None]:
        """Yield the answer; when this is closed early, the replica is told to stop."""
        if self._handle is None:
            self._handle = serve.get_app_handle(REPLICAS).options(stream=True)
        parts = self._handle.answer.remote(call)
        try:
            async for part in parts:
                yield part
        finally:
            parts.cancel()


def _place(
    application: Any, name: str, route: str | None, enough: Callable[[], bool] = lambda: False
) -> None:
    """Have Serve run an application, and wait until it does, or `enough` of it.

    Raises ModelFailed.
    """
    target = serve.RunTarget(application, name=name, route_prefix=route)
    serve.run_many([target], wait_for_applications_running=False)
    begun = told = time.monotonic()
    while (now := serve.status().applications[name]).status != ApplicationStatus.RUNNING:
        if now.status == ApplicationStatus.DEPLOY_FAILED:
            raise ModelFailed(reason_of(name) or f"{name} could not be deployed")
        if enough():
            return
        if time.monotonic() - begun > PLACING_SECONDS:
            raise ModelFailed(
                f"{name} is not running after {PLACING_SECONDS} s; {_shown_status(now)}"
            )
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            logger.info("waiting for %s: %s", name, _shown_status(now))
        time.sleep(0.5)


def _shown_status(application: Any) -> str:
    counts = [
        f"{number} {getattr(state, 'value', state)}"
        for one in application.deployments.values()
        for state, number in one.replica_states.items()
        if number
    ]
    return f"replicas: {', '.join(counts) or 'none'}"
