"""The Hub's client, with our rule for proxies."""

from __future__ import annotations

import inspect
import logging
import sys
import threading
from functools import cache
from typing import Any, cast

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.utils import _http

from rerankd.settings.proxies import ProxiedTransport

CONNECT_SECONDS = 2.5
"""How long a connection may take to be made; after that the Hub counts as out of reach."""

_applying = threading.Lock()


def quieten_client() -> None:
    """Leave what the client would say of each failed try to the one error that is raised."""
    # The client would write its warnings a second time, to stderr and in its own format.
    logging.getLogger(huggingface_hub.__name__).handlers.clear()
    logging.getLogger(_http.__name__).setLevel(logging.ERROR)


def apply_proxy_rule() -> None:
    """Let the client choose proxies as our other clients do, once.

    Its own way raises for entries of NO_PROXY such as [::1], and doesn't know networks there.
    """
    with _applying:
        _set_factory()


@cache
def _set_factory() -> None:
    # A second time would close the client that another download is using.
    huggingface_hub.set_client_factory(_new_client)


def bound_connecting(request: Any) -> None:
    """Give a request at most CONNECT_SECONDS to connect, unless somebody has set a longer time."""
    timeouts = request.extensions.get("timeout")
    patient = constants.HF_HUB_ETAG_TIMEOUT > constants.DEFAULT_ETAG_TIMEOUT
    if timeouts is not None and not patient:
        given = timeouts.get("connect")
        timeouts["connect"] = CONNECT_SECONDS if given is None else min(given, CONNECT_SECONDS)


def _new_client() -> Any:
    # The HTTP library differs between versions of the client; its own factory is annotated with it.
    made = inspect.get_annotations(_http.default_client_factory, eval_str=True)["return"]
    library = sys.modules[made.__module__.partition(".")[0]]
    return made(
        event_hooks={"request": [_http.hf_request_event_hook, bound_connecting]},
        follow_redirects=True,
        timeout=None,
        trust_env=False,
        transport=cast("Any", ProxiedTransport(library)),
    )
