"""The cores and the memory of this machine that this process may use.

Control groups limit both: those of a container, and each one above it that can be read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from msgspec import Struct

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")


class _Accounts(Struct, frozen=True):
    """The files in which one version of control groups accounts for memory."""

    limit: str
    used: str
    reclaimable: str
    """A key of `memory.stat`: page cache that the system takes back before it refuses memory."""


VERSION_2 = _Accounts("memory.max", "memory.current", "inactive_file")
VERSION_1 = _Accounts("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def available_cores(proc: Path = PROC, groups: Path = GROUPS) -> int:
    """Return the whole cores this process may use, at least 1.

    That is its affinity, or less where a control group has a lower quota. A quota is rounded down:
    threads beyond it would use it up early and leave all of them waiting for the next period.
    """
    allowed = len(os.sched_getaffinity(0))
    for folder in _folders(proc, groups, "cpu"):
        quota, period = _quota(folder)
        if quota > 0 and period > 0:
            allowed = min(allowed, quota // period)
    return max(1, allowed)


def available_memory(proc: Path = PROC, groups: Path = GROUPS) -> int | None:
    """Return the bytes this process can take without swapping; None where it is unknown.

    That is what the system calls available, or less where a control group leaves less.
    """
    free = _meminfo(proc, "MemAvailable")
    if free is None:
        return None
    return max(0, min((free, *_left_by_groups(proc, groups))))


def resident_memory(pid: int) -> int | None:
    """Return a process's resident memory in bytes, None where it can't be read."""
    try:
        status = (PROC / str(pid) / "status").read_text("ascii", "replace")
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0]) * 1024 if found else None


def free_swap(proc: Path = PROC) -> int:
    """Return the bytes of swap that are free, 0 where there is none."""
    return _meminfo(proc, "SwapFree") or 0


def total_memory() -> int:
    """Return the bytes of memory this machine has, free or not."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_limit(proc: Path = PROC, groups: Path = GROUPS) -> int:
    """Return the bytes this process could take if nothing else took any."""
    return min((total_memory(), *(limit for _, _, limit in _group_limits(proc, groups))))


def _meminfo(proc: Path, key: str) -> int | None:
    found = re.search(rf"^{key}:\s+(\d{{1,15}}) kB$", _contents_of(proc / "meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _left_by_groups(proc: Path, groups: Path) -> Iterator[int]:
    for folder, accounts, limit in _group_limits(proc, groups):
        used = _number(folder / accounts.used) or 0
        yield limit - used + min(used, _reclaimable(folder, accounts))


def _group_limits(proc: Path, groups: Path) -> Iterator[tuple[Path, _Accounts, int]]:
    """Yield each limit on memory, with its group's folder and how that accounts for it."""
    for folder in _folders(proc, groups, "memory"):
        for accounts in (VERSION_2, VERSION_1):
            limit = _number(folder / accounts.limit)
            if limit is not None:
                yield folder, accounts, limit


def _reclaimable(folder: Path, accounts: _Accounts) -> int:
    pattern = rf"^{accounts.reclaimable} (\d{{1,19}})$"
    found = re.search(pattern, _contents_of(folder / "memory.stat"), re.MULTILINE)
    return int(found[1]) if found else 0


def _quota(folder: Path) -> tuple[int, int]:
    """Return a group's CPU quota and its period in microseconds, 0 where it has none."""
    parts = _contents_of(folder / "cpu.max").split() or [
        _contents_of(folder / "cpu.cfs_quota_us").strip(),
        _contents_of(folder / "cpu.cfs_period_us").strip(),
    ]
    if len(parts) != len(("quota", "period")) or not all(map(str.isdecimal, parts)):
        return 0, 0
    return int(parts[0]), int(parts[1])


def _folders(proc: Path, groups: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's groups and of all above them, both versions alike."""
    for line in _contents_of(proc / "self" / "cgroup").splitlines() or ["0::/"]:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        # A container often sees its own group at the mount, where its path leads nowhere.
        group = PurePosixPath(path.lstrip("/"))
        for mount in _mounts(groups, controllers, controller):
            for part in (group, *group.parents):
                yield mount / part


def _mounts(groups: Path, controllers: str, controller: str) -> tuple[Path, ...]:
    """Return where a hierarchy may be mounted: version 2 has no list of controllers."""
    if not controllers:
        return (groups, groups / "unified")  # the latter beside version 1
    if controller not in controllers.split(","):
        return ()
    # Controllers that share a hierarchy are mounted under all their names, or under each.
    return tuple(groups / name for name in dict.fromkeys((controller, controllers)))


def _number(path: Path) -> int | None:
    text = _contents_of(path).strip()
    return int(text) if text.isdecimal() else None


def _contents_of(path: Path) -> str:
    """Return a file's text, empty where it can't be read."""
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
