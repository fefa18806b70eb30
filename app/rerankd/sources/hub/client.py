"""The Hub's client, with our rule for proxies."""

from __future__ import annotations

import inspect
import sys
import threading
from functools import cache
from typing import Any, cast

import huggingface_hub
from huggingface_hub.utils import _http

from rerankd.settings.proxies import ProxiedTransport

_applying = threading.Lock()


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


def _new_client() -> Any:
    # The HTTP library differs between versions of the client; its own factory is annotated with it.
    made = inspect.get_annotations(_http.default_client_factory, eval_str=True)["return"]
    library = sys.modules[made.__module__.partition(".")[0]]
    return made(
        event_hooks={"request": [_http.hf_request_event_hook]},
        follow_redirects=True,
        timeout=None,
        trust_env=False,
        transport=cast("Any", ProxiedTransport(library)),
    )
