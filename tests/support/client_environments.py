"""Environments that have client libraries, and a server for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.places import ROOT
from support.process import Running

ENVIRONMENTS = Path(os.environ.get("RERANKD_CLIENTS", ROOT / ".venv-clients"))

KEY, MODEL = "sesame-of-the-test", "rerank-mini-en"

PATIENCE = 120.0


@contextmanager
def server(**environment: str) -> Iterator[str]:
    """Yield the URL of a server of the embedded model."""
    running = Running([], environment)
    try:
        url = running.until(r"listening on (http://[^\s\"]+)")[1]
        running.until(f"{MODEL} ready: ")
        assert running.process.stderr
        log = running.process.stderr
        reading = threading.Thread(target=lambda: [*log])
        reading.start()
        yield url
    finally:
        running.process.kill()
        reading.join()
        running.process.communicate()


def environ() -> dict[str, str]:
    """Return this process's environment without proxies, and with what keeps clients local."""
    kept = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    return kept | {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HAYSTACK_TELEMETRY_ENABLED": "False",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
