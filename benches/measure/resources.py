"""Rows of what the service occupies: memory, an idle processor, and the time of a start."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from support.memory import MemoryWatch
from support.processes import environment, free_port, last_lines

from .bench import TURNS, Bench, log_turn
from .figures import Figure, Result, RowFailed, at_most
from .processes import START_SECONDS, STOP_SECONDS, Service
from .processor import CpuClock
from .throughput import stream_all

MEMORY_GOAL_MIB = 80
IDLE_GOAL_PERCENT = 0.5
COLD_START_GOAL_MS = 70
# Long enough for several rounds of the background jobs, the slowest of which runs every 30 s.
IDLE_SECONDS_PER_SECOND = 12
POLL_SECONDS = 0.0005


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
                figures = stream_all(bench, service, "stream-all").raw
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


def idle(bench: Bench) -> list[Result]:
    """Measures an instance without requests, and its database."""
    goal = at_most(1.0, f"<= {IDLE_GOAL_PERCENT} % of a core")
    title = f"idle instance with {bench.customers:,} customers"
    own = Result("idle", title, "the goal", "% of a core", goal)
    database = Result("idle-database", f"{title}: its database", "the goal", "% of a core", goal)
    seconds = bench.seconds * IDLE_SECONDS_PER_SECOND
    for _ in range(TURNS):
        with Service(bench.tools, bench.url) as service:
            bench.databases.settle(service)
            server = bench.databases.server_processes(bench.url)
            clocks = CpuClock.of(service.pid), CpuClock.of(*server)
            start, used = time.monotonic(), [clock.seconds() for clock in clocks]
            time.sleep(seconds)
            elapsed = time.monotonic() - start
            shares = [
                100 * (clock.seconds() - before) / elapsed
                for clock, before in zip(clocks, used, strict=True)
            ]
            with MemoryWatch(service.pid) as watch:
                pass
        raw = {"seconds": elapsed, "resident_mib": watch.samples[-1].resident_mib}
        for row, share in ((own, shares[0]), (database, shares[1])):
            row.limits.append(Figure(IDLE_GOAL_PERCENT))
            row.ours.append(Figure(share, raw))
            log_turn(row)
    return [own, database]


def cold_start(bench: Bench) -> list[Result]:
    """Measures from the start of the process until it is ready, with SQLite."""
    goal = at_most(1.0, f"<= {COLD_START_GOAL_MS} ms")
    first = Result("cold-start", "first start on SQLite until ready", "the goal", "ms", goal)
    again = Result("warm-start", "another start on SQLite until ready", "the goal", "ms", goal)
    for _ in range(TURNS):
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            for row in (first, again):
                row.limits.append(Figure(COLD_START_GOAL_MS))
                row.ours.append(Figure(1000 * start_seconds(bench.tools.service, Path(folder))))
                log_turn(row)
    return [first, again]


def start_seconds(service: Path, folder: Path) -> float:
    """Returns the seconds until `/readyz` answers 200, by a service with an empty or its own
    folder."""
    port = free_port()
    settings = {
        "DATABASE_URL": f"sqlite://{folder / 'contacts.db'}?mode=rwc",
        "LISTEN_ADDR": f"127.0.0.1:{free_port()}",
        "HTTP_ADDR": "127.0.0.1:0",
        "METRICS_ADDR": f"127.0.0.1:{port}",
        "RUST_LOG": "warn",
    }
    log = folder / "service.log"
    start = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [service, "serve"],
            cwd=folder,
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() - start > START_SECONDS:
                raise RowFailed(f"the service is not ready: {last_lines(log.read_text())}")
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - start
        process.terminate()
        process.wait(STOP_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return seconds


def is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(
                b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            )
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
