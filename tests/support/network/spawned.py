"""A process that works until a context ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from types import TracebackType
from typing import Generic, TypeVar

# Longer than any request may take.
RESULT_SECONDS = 60
EXIT_SECONDS = 10

S = TypeVar("S")
R = TypeVar("R")


class Spawned(Generic[R]):
    """Runs `work(subject, stop)` in a process; `result` is what it returned, `initial` until then."""

    def __init__(self, work: Callable[[S, Event], R], subject: S, initial: R) -> None:
        # Spawned and not forked, because gRPC's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.result = initial
        self._stop = context.Event()
        self._results: Queue[R] = context.Queue()
        self._process = context.Process(
            target=run, args=(work, subject, self._stop, self._results), daemon=True
        )

    def __enter__(self) -> Spawned[R]:
        self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        try:
            self.result = self._results.get(timeout=RESULT_SECONDS)
        finally:
            self._process.join(EXIT_SECONDS)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()


def run(work: Callable[[S, Event], R], subject: S, stop: Event, results: Queue[R]) -> None:
    results.put(work(subject, stop))


def use_idle_class() -> None:
    """Moves the process to the idle scheduling class, so that its own load on the machine does not count
    as the server's.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
