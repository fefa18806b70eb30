"""Settings that ask for more than a machine has are refused with the bound."""

from __future__ import annotations

from typing import Any

import pytest

from rerankd.errors import SettingsError
from rerankd.settings import (
    Settings,
    load_settings,
    machine_bounds,
    require_fits_cores,
    require_fits_machine,
)

GIGABYTE = 10**9


@pytest.mark.parametrize(
    ("asked", "cores", "bound"),
    [
        ({"workers": 100_000}, 2, 16),
        ({"threads": 100_000}, 2, 16),
        ({"cores": 100_000}, 2, 16),
        ({"workers": 257}, 64, 256),
        ({"workers": 16, "threads": 2}, 4, 16),
    ],
)
def test_more_threads_than_cores_can_run_are_refused(
    asked: dict[str, Any], cores: int, bound: int
) -> None:
    """The error names the most that may be set."""
    with pytest.raises(SettingsError, match=f"at most {bound} on this machine") as raised:
        require_fits_cores(Settings(**asked), cores)
    assert raised.value.param in asked


@pytest.mark.parametrize(
    "asked", [{}, {"workers": 16}, {"workers": 4, "threads": 4}, {"threads": 8}, {"cores": 8}]
)
def test_somewhat_more_threads_than_cores_are_allowed(asked: dict[str, Any]) -> None:
    """Settings for a larger machine still start a small one."""
    require_fits_cores(Settings(**asked), 2)


@pytest.mark.parametrize(
    "name", ["cache_bytes", "vector_cache_bytes", "max_body_bytes", "max_inflight_bytes"]
)
def test_more_memory_than_there_is_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and budgets of bytes fit into what the process may use."""
    monkeypatch.setattr(machine_bounds, "memory_limit", lambda: GIGABYTE)
    require_fits_machine(Settings(**{name: GIGABYTE}))
    with pytest.raises(SettingsError, match=f"{name} is .* {GIGABYTE} bytes") as raised:
        require_fits_machine(Settings(**{name: GIGABYTE + 1}))
    assert raised.value.param == name


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", str(10**30)), ("context", str(2**63)), ("tensor_split", "inf,1")],
)
def test_numbers_beyond_any_machine_are_refused_when_read(name: str, value: str) -> None:
    """A number that no JSON document could keep never reaches the state file."""
    with pytest.raises(SettingsError, match=name):
        load_settings({name: value}, environment={})
