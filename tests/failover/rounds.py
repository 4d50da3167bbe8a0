"""Rounds of faults under load, and their durations."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from support.polling import until
from support.processes import Failed

from .checks import Verdict
from .cluster import Cluster
from .load import Load

PROBE_PAUSE = 0.05
LONGEST_SECONDS = 10.0
# Far above the allowed time; a round that reaches it has failed.
TIMEOUT_SECONDS = 90.0
# Time of undisturbed writes between two faults.
QUIET_SECONDS = 1.0

FAULTS: dict[str, Callable[[Cluster], object]] = {
    "kill -9": Cluster.kill_leader,
    "switchover": Cluster.switch_over,
}


@dataclass(frozen=True)
class Round:
    """Durations of one round in seconds."""

    # From the fault until another server accepts writes.
    to_primary: float
    # From then until the first acknowledged write of the service, and until each writer has one.
    to_first: float
    to_all: float
    leader: str


class Probe:
    """Polls by SQL, through HAProxy, until another server accepts writes."""

    def __init__(self, cluster: Cluster, old_port: int, may_be_the_same: bool) -> None:
        self._cluster = cluster
        self._old_port = None if may_be_the_same else old_port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.taken: float | None = None
        self._thread.start()

    def wait(self) -> float:
        try:
            return until(lambda: self.taken, "a new primary", TIMEOUT_SECONDS, PROBE_PAUSE)
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set() and self.taken is None:
            try:
                self._try()
            except psycopg.Error:
                time.sleep(PROBE_PAUSE)

    def _try(self) -> None:
        with self._cluster.connect() as connection:
            # Standbys may follow later, so the commit does not wait for one.
            connection.execute("SET synchronous_commit = local")
            row = connection.execute(
                "UPDATE probe SET writes = writes + 1 RETURNING inet_server_port()"
            ).fetchone()
            if row and row[0] != self._old_port:
                self.taken = time.monotonic()
                return
        time.sleep(PROBE_PAUSE)


def play(cluster: Cluster, load: Load, mode: str, count: int) -> list[Round]:
    """Plays rounds of one fault, each when the cluster has a standby again."""
    rounds = []
    for number in range(1, count + 1):
        cluster.wait_for_standby()
        cluster.expect_alive()
        load.expect_alive()
        time.sleep(QUIET_SECONDS)
        played = play_one(cluster, load, mode)
        print(
            f"  {mode} {number}: {played.leader} gone, new primary after {played.to_primary:.1f} s,"
            f" then the first write after {played.to_first:.2f} s, all writers after"
            f" {played.to_all:.2f} s",
            file=sys.stderr,
            flush=True,
        )
        rounds.append(played)
    return rounds


def play_one(cluster: Cluster, load: Load, mode: str) -> Round:
    leader = cluster.leader()
    is_kill = mode == "kill -9"
    start = time.monotonic()
    probe = None if is_kill else Probe(cluster, leader.port, may_be_the_same=False)
    FAULTS[mode](cluster)
    if probe is None:
        # The old server is gone: any response is from the new one.
        start = time.monotonic()
        probe = Probe(cluster, leader.port, may_be_the_same=True)
    taken = probe.wait()

    def acknowledged(of_all: Callable[[list[float]], float]) -> float:
        what = "an acknowledged write after the new primary"
        return until(lambda: load.first_since(taken, of_all), what, TIMEOUT_SECONDS, PROBE_PAUSE) - taken

    return Round(taken - start, acknowledged(min), acknowledged(max), leader.name)


def too_long(rounds: list[Round]) -> list[str]:
    return [
        f"a round took {played.to_all:.1f} s after the new primary"
        for played in rounds
        if played.to_all > LONGEST_SECONDS
    ]


def summary(title: str, rounds: list[Round], verdict: Verdict) -> str:
    def slowest(name: str) -> str:
        return f"{max((getattr(played, name) for played in rounds), default=0.0):.1f} s"

    return (
        f"{title}: {len(rounds)} rounds, {verdict.writes()};"
        f" slowest first write {slowest('to_first')} after the new primary, slowest of all writers"
        f" {slowest('to_all')}, slowest new primary {slowest('to_primary')}; {verdict.responses()}"
    )


def expect_writes(load: Load) -> None:
    """Asserts before the first fault that writes succeed."""
    before = load.acknowledged()
    until(lambda: load.acknowledged() > before + 20, "writes", TIMEOUT_SECONDS)
    if load.statuses.counts:
        raise Failed(f"calls failed before any fault: {load.statuses.first}")
