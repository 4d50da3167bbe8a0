"""Samples the memory of a process."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SAMPLE_SECONDS = 0.2


@dataclass(frozen=True)
class MemorySample:
    """The memory of a process at one moment."""

    seconds: float
    resident_mib: float
    peak_mib: float


class MemoryWatch:
    """Samples the memory of a process in a thread."""

    def __init__(self, pid: int) -> None:
        self.samples: list[MemorySample] = []
        self._status = Path(f"/proc/{pid}/status")
        self._start = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._take()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._take()

    def _take(self) -> None:
        try:
            lines = self._status.read_text().splitlines()
        except OSError:
            return
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Vm")}
        if {"VmRSS", "VmHWM"} <= kib.keys():
            seconds = time.monotonic() - self._start
            self.samples.append(MemorySample(seconds, kib["VmRSS"] / 1024, kib["VmHWM"] / 1024))
