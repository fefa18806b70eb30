"""What the server makes of its settings and of the process's limits."""

from __future__ import annotations

import resource
from typing import Any

import pytest

from rerankd.http import server
from rerankd.http.server import OWN_DESCRIPTORS, keep_alive_hint, limits_of
from rerankd.settings import Settings


def test_settings_bound_the_connections() -> None:
    """Each limit is the setting of its name."""
    found = limits_of(
        Settings(
            max_connections=20,
            max_connections_per_address=7,
            header_timeout=1,
            keep_alive_timeout=2,
            write_timeout=3,
        ),
        1000,
    )

    assert (found.most, found.most_per_address) == (20, 7)
    assert (found.header, found.keep_alive, found.write) == (1, 2, 3)


def test_one_address_may_have_all_connections_unless_it_is_told() -> None:
    """0 is no limit of its own; a limit above all is all."""
    assert limits_of(Settings(max_connections=20), 1000).most_per_address == 20
    own = Settings(max_connections=20, max_connections_per_address=100)
    assert limits_of(own, 1000).most_per_address == 20


def test_descriptors_bound_the_connections(caplog: pytest.LogCaptureFixture) -> None:
    """The server keeps some for itself, and says that it takes fewer connections."""
    found = limits_of(Settings(max_connections=1000), 256)

    assert found.most == 256 - OWN_DESCRIPTORS
    assert "ulimit" in caplog.text
    assert limits_of(Settings(), 10).most == 1


def test_clients_are_asked_to_give_up_before_the_server_does() -> None:
    assert keep_alive_hint(Settings(keep_alive_timeout=75)) == [("Keep-Alive", "timeout=70")]
    assert keep_alive_hint(Settings(keep_alive_timeout=5)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((256, 4096), (4096, 4096)),
        ((256, resource.RLIM_INFINITY), (65_536, resource.RLIM_INFINITY)),
        ((4096, 4096), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch, before: tuple[int, int], after: tuple[int, int] | None
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: before)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: calls.append(limits))

    server.raise_descriptor_limit()

    assert calls == ([after] if after else [])
    assert server.descriptor_limit() in {before[0], server.WANTED_DESCRIPTORS}
