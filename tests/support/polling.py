"""Waits for conditions without guessing durations."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

from .processes import Failed

T = TypeVar("T")

# Far above the time that any step takes; a test that reaches it has failed.
TIMEOUT_SECONDS = 60.0


def until(
    probe: Callable[[], T], what: str, seconds: float = TIMEOUT_SECONDS, pause: float = 0.02
) -> T:
    """Polls until the result is true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        result = probe()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failed(f"timed out after {seconds:g} s waiting for {what}")
        time.sleep(pause)
