"""Servers that the tests of clients share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.client_environments import KEY, server


@pytest.fixture(scope="session")
def keyed() -> Iterator[str]:
    """The URL of a server that wants a key."""
    with server(RERANKD_API_KEYS=KEY) as url:
        yield url


@pytest.fixture(scope="session")
def keyless() -> Iterator[str]:
    """The URL of a server for clients that can send no key."""
    with server() as url:
        yield url
