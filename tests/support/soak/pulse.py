"""Asks for a server's health over and over, as a process of its own: `pulse.py PORT SECONDS`.

It stands alone so that nothing of the traffic slows it down. It prints a line when it has begun,
and on SIGTERM the seconds of each check as JSON, null for one that failed, and the longest time
that it was itself kept waiting.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
import time
from types import FrameType

CHECK_PATIENCE = 10.0
PATHS = ("/health/live", "/health/ready")


def health_check(port: int, path: str) -> float | None:
    """Return the seconds that a check took over a new connection, None where it failed."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CHECK_PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return time.monotonic() - begun if answer.status == 200 else None


def main(port: int, between: float) -> None:
    """Check until SIGTERM."""
    ending: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        ending.append(number)

    signal.signal(signal.SIGTERM, end)
    print("checking", flush=True)
    found: list[float | None] = []
    lag = 0.0
    while not ending:
        found.append(health_check(port, PATHS[len(found) % 2]))
        asleep = time.monotonic()
        time.sleep(between)
        if not ending:
            lag = max(lag, time.monotonic() - asleep - between)
    print(json.dumps({"seconds": found, "lag": lag}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
