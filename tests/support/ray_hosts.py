"""A Ray cluster of hosts of its own: each node in a network namespace, joined by a bridge.

So every node has its address and its ports as on real machines, nothing leaves this one, and a
node can be lost whole: all that runs in its namespace is killed at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
PERIOD = 20_000
"""Microseconds in which a host may use its share of the cores."""

SUBNET = "10.213.77"
BRIDGE = "rerankd-br"
PORT, METRICS_PORT = 6379, 9090
PATIENCE = 90.0
STORE_BYTES = 100 * 2**20

ENVIRONMENT = {
    **os.environ,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "PYTHONWARNINGS": "ignore",
    # Ray gives its workers the lowest priority but four, which is none beside other work.
    "RAY_worker_niceness": "0",
    # Many nodes share two cores here: what starts in a second elsewhere takes ten.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "40",
}


def ip(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)  # noqa: S607
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def can_make_namespaces() -> bool:
    """Tell whether this user may make network namespaces."""
    try:
        ip("netns", "add", "rerankd-try")
    except (OSError, RuntimeError):
        return False
    ip("netns", "del", "rerankd-try")
    return True


class Allowance:
    """How much of this machine's cores a host may use: a control group, of either version."""

    def __init__(self, name: str) -> None:
        one = (GROUPS / "cgroup.controllers").exists()
        self.folder = GROUPS / name if one else GROUPS / "cpu" / name
        self._file = "cpu.max" if one else "cpu.cfs_quota_us"
        self._form = f"{{}} {PERIOD}" if one else "{}"
        self._all = "max" if one else "-1"
        if one:
            (GROUPS / "cgroup.subtree_control").write_text("+cpu")
        self.folder.mkdir(exist_ok=True)
        if not one:
            (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD))

    def of(self, command: Sequence[str]) -> list[str]:
        """Return a command that runs another one within the allowance."""
        join = 'echo 0 > "$0" && exec "$@"'
        return ["sh", "-c", join, str(self.folder / "cgroup.procs"), *command]

    def set(self, cores: float | None) -> None:
        """Allow so many cores, or as many as there are."""
        most = self._all if cores is None else int(cores * PERIOD)
        (self.folder / self._file).write_text(self._form.format(most))

    def remove(self) -> None:
        """Take the group away once nothing is in it."""
        wait_until(lambda: not (self.folder / "cgroup.procs").read_text(), "the host to end")
        self.folder.rmdir()


class Node:
    """A host with a Ray node, the first of them the head."""

    def __init__(self, number: int, cores: int) -> None:
        self.space = f"rerankd-{number}"
        self.address = f"{SUBNET}.{number}"
        self.outer = f"rerankd-o{number}"
        self.cores = cores
        self.allowance = Allowance(f"rerankd-{number}")
        self._plug_in(number)
        self._ray: subprocess.Popen[bytes] | None = None

    def _plug_in(self, number: int) -> None:
        inner = f"rerankd-i{number}"
        ip("netns", "add", self.space)
        ip("link", "add", self.outer, "type", "veth", "peer", "name", inner, "netns", self.space)
        ip("link", "set", self.outer, "master", BRIDGE, "up")
        for command in (f"addr add {self.address}/24 dev {inner}", f"link set {inner} up"):
            ip("-n", self.space, *command.split())
        ip("-n", self.space, "link", "set", "lo", "up")

    def start(self, head: Node) -> None:
        """Start Ray here."""
        where = ["--head", f"--port={PORT}", "--include-dashboard=false", "--disable-usage-stats"]
        if head is not self:
            where = [f"--address={head.address}:{PORT}"]
        ray = [
            *(str(Path(sys.executable).with_name("ray")), "start", *where, "--block"),
            *(f"--node-ip-address={self.address}", f"--num-cpus={self.cores}"),
            *("--num-gpus=0", f"--object-store-memory={STORE_BYTES}"),
            f"--metrics-export-port={METRICS_PORT}",
        ]
        self._ray = self.popen(ray, within=self.allowance)

    def popen(
        self, command: Sequence[str], *, within: Allowance | None = None, **given: object
    ) -> subprocess.Popen[bytes]:
        """Start a command on this host, its output dropped unless it is asked for."""
        there = ["ip", "netns", "exec", self.space, *command]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            within.of(there) if within else there,
            env=ENVIRONMENT,
            **(quiet | given),
        )

    def rerankd(self, *arguments: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command of rerankd on this host."""
        return subprocess.run(
            ["ip", "netns", "exec", self.space, sys.executable, "-m", "rerankd", *arguments],  # noqa: S607
            env=ENVIRONMENT,
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def python(self, code: str, seconds: float = 300) -> str:
        """Run Python on this host and return what it printed."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.space, sys.executable, "-c", code],  # noqa: S607
            env=ENVIRONMENT,
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def cpu_seconds(self, name: str) -> float:
        """Return what the processes of a name on this host have computed so far."""
        ticks = 0
        for pid in ip("netns", "pids", self.space).split():
            try:
                title = Path(f"/proc/{pid}/cmdline").read_text("utf-8")
                fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            if name in title:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """Lose this host: everything on it ends at once, without a goodbye."""
        while pids := ip("netns", "pids", self.space, check=False).split():
            for pid in pids:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue
        if self._ray:
            self._ray.wait(PATIENCE)

    @property
    def lives(self) -> bool:
        """Whether Ray runs here."""
        return self._ray is not None and self._ray.poll() is None

    def unplug(self) -> None:
        """Take the host away."""
        self.kill()
        ip("link", "del", self.outer, check=False)  # the space itself goes when its sockets have
        ip("netns", "del", self.space, check=False)
        self.allowance.remove()


class Cluster:
    """Some hosts; more may join."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    @property
    def head(self) -> Node:
        return self.nodes[0]

    @property
    def hosts(self) -> list[Node]:
        """Those that live, without the head."""
        return [one for one in self.nodes[1:] if one.lives]

    def join(self, cores: int = 1) -> Node:
        """Add a host and wait until the cluster knows it."""
        node = Node(len(self.nodes) + 1, cores)
        self.nodes.append(node)
        node.start(self.head)
        wait_until(lambda: self.knows(node), f"{node.address} to join")
        return node

    def knows(self, node: Node) -> bool:
        """Tell whether a host is a living node of the cluster."""
        code = (
            "import ray, logging; from ray._raylet import GcsClient;"
            f"nodes = GcsClient(address='{self.head.address}:{PORT}').get_all_node_info();"
            "print(' '.join(one.node_manager_address for one in nodes.values() if one.state == 0))"
        )
        try:
            return node.address in self.head.python(code, seconds=30).split()
        except (AssertionError, subprocess.TimeoutExpired):
            return False


def wait_until(true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Ask again and again: Ray tells nobody when it is ready."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.2)


@contextmanager
def allowed(nodes: Sequence[Node], cores: float) -> Iterator[None]:
    """Let hosts use so many cores each for a while, so that several fit on this machine."""
    for node in nodes:
        node.allowance.set(cores)
    try:
        yield
    finally:
        for node in nodes:
            node.allowance.set(None)


@contextmanager
def cluster_of(*cores: int) -> Iterator[Cluster]:
    """Yield a cluster of hosts with so many cores each; all of it is gone afterwards."""
    ip("link", "add", BRIDGE, "type", "bridge")
    found = Cluster()
    try:
        ip("addr", "add", f"{SUBNET}.254/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for one in cores:
            found.join(one)
        yield found
    finally:
        for node in reversed(found.nodes):
            node.unplug()
        ip("link", "del", BRIDGE)
