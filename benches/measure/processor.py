"""The processor time of processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class CpuClock:
    """Sums the processor time of processes and their children, also of those that have ended."""

    pids: tuple[int, ...]

    @classmethod
    def of(cls, *pids: int) -> CpuClock:
        return cls(pids)

    def seconds(self) -> float:
        children: dict[int, list[int]] = {}
        used: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = stat.read_text()
            except OSError:
                continue
            # The name, in brackets, may contain anything.
            fields = text.rpartition(")")[2].split()
            pid, parent = int(stat.parent.name), int(fields[1])
            children.setdefault(parent, []).append(pid)
            used[pid] = sum(int(field) for field in fields[11:15])
        waiting, ticks = list(self.pids), 0
        while waiting:
            pid = waiting.pop()
            ticks += used.get(pid, 0)
            waiting += children.get(pid, [])
        return ticks / TICKS
