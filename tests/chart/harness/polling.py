"""Waiting for something without guessing how long it takes."""

from __future__ import annotations

import random
import socket
import time
from typing import Callable

# Far more than anything here takes: a test that gets there has failed.
PATIENCE = 60.0


def until(ask: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Asks until the answer is yes."""
    deadline = time.monotonic() + seconds
    while not ask():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.02)


def free_port() -> int:
    """A loopback port that nobody listens on, below the range that systems hand to clients."""
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
