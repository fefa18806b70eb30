"""Cores and memory as the system and control groups account for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerankd import machine

KIB, CORES = 1024, 8
AFFINITY = frozenset(range(CORES))
FREE = 4000 * KIB
MEMINFO = "MemTotal:       8000 kB\nMemFree:  1 kB\nMemAvailable:    4000 kB\n"


class System:
    """Folders that stand in for /proc and /sys/fs/cgroup."""

    def __init__(self, root: Path) -> None:
        self.proc, self.groups = root / "proc", root / "cgroup"
        self.write("proc/meminfo", MEMINFO)

    def write(self, name: str, text: str) -> None:
        path = self.proc.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def memory(self) -> int | None:
        return machine.available_memory(self.proc, self.groups)

    def cores(self) -> int:
        return machine.available_cores(self.proc, self.groups)


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, FREE),
        ({"memory.max": "max\n"}, FREE),
        ({"memory.max": "1000000\n"}, 1_000_000),
        ({"memory.max": "9000000\n"}, FREE),
        ({"memory.max": "1000000\n", "memory.current": "400000\n"}, 600_000),
        ({"memory.max": "1000000\n", "memory.current": "1000001\n"}, 0),
        ({"memory.max": "what is this\n"}, FREE),
        ({"memory.max": "1000000\n", "memory.current": "odd\n"}, 1_000_000),
    ],
)
def test_memory_is_the_system_s_or_what_the_group_leaves(
    system: System, files: dict[str, str], expected: int
) -> None:
    """MemAvailable counts, or less where a group's limit less its use is lower."""
    for name, text in files.items():
        system.write(f"cgroup/{name}", text)
    assert expected == system.memory()


def test_page_cache_counts_as_free(system: System) -> None:
    """What a group holds of files that nobody uses is given back before memory is refused."""
    system.write("cgroup/memory.max", "1000000\n")
    system.write("cgroup/memory.current", "900000\n")
    system.write("cgroup/memory.stat", "active_file 5\ninactive_file 300000\nslab 7\n")
    assert system.memory() == 400_000


def test_every_group_above_counts(system: System) -> None:
    """The lowest of nested limits counts, at whichever level it stands."""
    system.write("proc/self/cgroup", "0::/outer/middle/own\n")
    system.write("cgroup/outer/middle/own/memory.max", "max\n")
    system.write("cgroup/outer/middle/memory.max", "2000000\n")
    system.write("cgroup/outer/memory.max", "1000000\n")
    system.write("cgroup/outer/memory.current", "100000\n")
    assert system.memory() == 900_000


def test_version_1_has_its_own_files_and_mounts(system: System) -> None:
    """The memory controller's group is found among the others, with its unlimited parents."""
    system.write("proc/self/cgroup", "12:cpu,cpuacct:/a\n4:memory:/pod/own\n1:name=systemd:/\n")
    own = "cgroup/memory/pod/own"
    system.write(f"{own}/memory.limit_in_bytes", "1000000\n")
    system.write(f"{own}/memory.usage_in_bytes", "800000\n")
    system.write(f"{own}/memory.stat", "inactive_file 1\ntotal_inactive_file 200000\n")
    system.write("cgroup/memory/pod/memory.limit_in_bytes", "9223372036854771712\n")
    assert system.memory() == 400_000


def test_a_container_s_own_mount_counts_where_its_path_leads_nowhere(system: System) -> None:
    """A path of the host's is not there inside a container, whose group is at the mount."""
    system.write("proc/self/cgroup", "4:memory:/docker/abc\n0::/docker/abc\n")
    system.write("cgroup/memory/memory.limit_in_bytes", "1000000\n")
    assert system.memory() == 1_000_000


@pytest.mark.parametrize("meminfo", ["MemTotal: 1 kB\n", "", "MemAvailable: many kB\n", "é"])
def test_memory_nobody_accounts_for_is_unknown(system: System, meminfo: str) -> None:
    """Without MemAvailable nothing is claimed, whatever the groups' limits."""
    system.write("proc/meminfo", meminfo)
    system.write("cgroup/memory.max", "1000000\n")
    assert system.memory() is None


def test_this_machine_has_the_memory_it_reports() -> None:
    """What is free is part of what there is."""
    available = machine.available_memory()
    assert available is None or 0 < available <= machine.total_memory()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", CORES),
        ("200000 100000\n", 2),
        ("150000 100000\n", 1),
        ("199999 100000\n", 1),
        ("765000 100000\n", 7),
        ("50000 100000\n", 1),
        ("1000 100000\n", 1),
        ("6400000 100000\n", CORES),
        ("", CORES),
        ("200000\n", CORES),
        ("what is this\n", CORES),
        ("-1 100000\n", CORES),
        ("200000 0\n", CORES),
    ],
)
def test_cores_less_a_container_s_quota(
    system: System, monkeypatch: pytest.MonkeyPatch, text: str, expected: int
) -> None:
    """The quota is rounded down, to at least one core; what can't be read limits nothing."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: AFFINITY)
    system.write("cgroup/cpu.max", text)
    assert expected == system.cores()


def test_the_lowest_of_nested_quotas_counts(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group's quota holds for all groups below it."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: AFFINITY)
    system.write("proc/self/cgroup", "0::/outer/own\n")
    system.write("cgroup/outer/own/cpu.max", "400000 100000\n")
    system.write("cgroup/outer/cpu.max", "300000 100000\n")
    assert system.cores() == 3


@pytest.mark.parametrize(("quota", "expected"), [("300000", 3), ("-1", CORES)])
def test_version_1_has_its_quota_in_two_files(
    system: System, monkeypatch: pytest.MonkeyPatch, quota: str, expected: int
) -> None:
    """-1 is no quota."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: AFFINITY)
    system.write("proc/self/cgroup", "12:cpu,cpuacct:/own\n")
    system.write("cgroup/cpu/own/cpu.cfs_quota_us", f"{quota}\n")
    system.write("cgroup/cpu/own/cpu.cfs_period_us", "100000\n")
    assert expected == system.cores()


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_controllers_that_share_a_hierarchy_are_found(
    system: System, monkeypatch: pytest.MonkeyPatch, mount: str
) -> None:
    """Some systems mount them under all their names, without a link for each."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: AFFINITY)
    system.write("proc/self/cgroup", "12:cpu,cpuacct:/pod/own\n")
    system.write(f"cgroup/{mount}/pod/cpu.cfs_quota_us", "350000\n")
    system.write(f"cgroup/{mount}/pod/cpu.cfs_period_us", "100000\n")
    assert system.cores() == 3


def test_version_2_beside_version_1_is_found(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hybrid system mounts version 2 in a folder of its own."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: AFFINITY)
    system.write("proc/self/cgroup", "1:name=systemd:/own\n0::/own\n")
    system.write("cgroup/unified/own/cpu.max", "250000 100000\n")
    system.write("cgroup/unified/own/memory.max", "1000000\n")
    assert system.cores() == 2
    assert system.memory() == 1_000_000


def test_cores_without_a_quota(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no quota, the cores are those of the process's affinity."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: {1, 3, 5})
    assert system.cores() == 3


def test_the_limit_is_the_lowest_above_this_process(system: System) -> None:
    """Memory that others use now counts, too."""
    assert machine.memory_limit(system.proc, system.groups) == machine.total_memory()
    system.write("cgroup/memory.max", "1000000\n")
    system.write("cgroup/memory.current", "999999\n")
    assert machine.memory_limit(system.proc, system.groups) == 1_000_000


def test_free_swap_is_the_system_s(system: System) -> None:
    """0 where there is none."""
    assert machine.free_swap(system.proc) == 0
    system.write("proc/meminfo", f"{MEMINFO}SwapFree:  12 kB\n")
    assert machine.free_swap(system.proc) == 12 * KIB
