"""Waits for conditions without guessing durations."""

from __future__ import annotations

import random
import socket
import time
from typing import Callable

# Far above the time that any step takes; a test that reaches it has failed.
TIMEOUT_SECONDS = 60.0


def until(ask: Callable[[], bool], what: str, seconds: float = TIMEOUT_SECONDS) -> None:
    """Polls until the result is true."""
    deadline = time.monotonic() + seconds
    while not ask():
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {seconds:g} s waiting for {what}")
        time.sleep(0.02)


def free_port() -> int:
    """Returns a free loopback port below the ephemeral range."""
    for _ in range(100):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("found no free port on 127.0.0.1")
