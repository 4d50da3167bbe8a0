"""Rows of what the service occupies."""

from __future__ import annotations

from dataclasses import asdict

from support.memory import MemoryWatch

from .bench import TURNS, Bench, log_turn
from .figures import Figure, Result, RowFailed, at_most
from .processes import Service
from .throughput import stream_all

MEMORY_GOAL_MIB = 80


def memory(bench: Bench) -> list[Result]:
    """The highest of all turns counts, not the median."""
    title = f"memory while {bench.customers:,} customers are streamed"
    text = f"<= {MEMORY_GOAL_MIB} MiB"
    goals = at_most(1.0, text), at_most(1.1)
    peak = Result("memory", f"{title}: peak", "the goal", "MiB", goals[0], summarise=max)
    flat = Result(
        "memory-flat", f"{title}: second half", "its first half", "MiB", goals[1], summarise=max
    )
    for _ in range(TURNS):
        with Service(bench.tools, bench.url) as service:
            bench.databases.settle(service)
            with MemoryWatch(service.pid) as watch:
                figures = stream_all(bench, service).raw
        samples = watch.samples
        if not samples:
            raise RowFailed("no memory was sampled")
        middle = samples[-1].seconds / 2
        first = [s.resident_mib for s in samples if s.seconds <= middle] or [
            samples[0].resident_mib
        ]
        second = [s.resident_mib for s in samples if s.seconds > middle]
        raw = {**figures, "samples": [asdict(sample) for sample in samples]}
        peak.limits.append(Figure(MEMORY_GOAL_MIB))
        peak.ours.append(Figure(max(sample.peak_mib for sample in samples), raw))
        flat.limits.append(Figure(max(first)))
        flat.ours.append(Figure(max(second)))
        log_turn(peak)
    return [peak, flat]
