"""Kills of a worker and of the coordinator under load."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from failover.rounds import LONGEST_SECONDS, PROBE_PAUSE, TIMEOUT_SECONDS, expect_writes
from support.polling import until

from .cluster import Cluster, Database, LocalNode, wait_until_answering
from .instances import instances, nodes_of_instances
from .load import Answered, Pair, PinnedLoad
from .result import Result, check_all

WORKER_KILLS, COORDINATOR_KILLS = 20, 10
# Time of undisturbed writes before a kill, and time until the restart.
QUIET_SECONDS, DOWN_SECONDS = 1.0, 3.0


@dataclass(frozen=True)
class Round:
    """One kill."""

    # Responses to the pairs that do not need the node, while it was down.
    served: list[tuple[Pair, Answered]]
    # From the moment at which all nodes answer until each writer has an acknowledged write.
    to_all: float


def prove_worker_kills(cluster: Cluster, folder: Path, scale: float) -> Result:
    workers = [node for node in cluster.local_nodes() if node in cluster.workers]
    return prove(cluster, folder, "worker", workers, math.ceil(WORKER_KILLS * scale))


def prove_coordinator_kills(cluster: Cluster, folder: Path, scale: float) -> Result:
    coordinators = [node for node in cluster.local_nodes() if node is cluster.coordinator]
    return prove(cluster, folder, "coordinator", coordinators, math.ceil(COORDINATOR_KILLS * scale))


def prove(
    cluster: Cluster, folder: Path, what: str, targets: list[LocalNode], count: int
) -> Result:
    """Kills the targets in turn; no acknowledged write may be lost or applied twice."""
    if not targets:
        return Result("not run: nodes that were not started here are not killed")
    database = cluster.create_database(f"contacts_kills_{what}")
    with instances(database, folder) as service:
        load = PinnedLoad(database, nodes_of_instances(database), service, f"K{what[0].upper()}")
        load.start()
        try:
            expect_writes(load)
            rounds = [
                play(database, load, targets[number % len(targets)], number + 1)
                for number in range(count)
            ]
        finally:
            load.stop()
        verdict = check_all(database, service, load)
    served = [answered for played in rounds for _, answered in played.served]
    wrong = verdict.wrong + [text for played in rounds for text in unserved(played)]
    return Result(
        f"{count} kills of the {what}, {verdict.writes()}; while it was down, others got"
        f" {sum(answered.writes for answered in served):,} writes and"
        f" {sum(answered.reads for answered in served):,} reads, and"
        f" {sum(answered.failed for answered in served):,} errors;"
        f" all writers at most {max(played.to_all for played in rounds):.1f} s after the restart;"
        f" {verdict.responses()}",
        wrong,
    )


def play(database: Database, load: PinnedLoad, node: LocalNode, number: int) -> Round:
    load.expect_alive()
    time.sleep(QUIET_SECONDS)
    node.kill()
    before = load.answered()
    time.sleep(DOWN_SECONDS)
    after = load.answered()
    node.start()
    up = wait_until_answering(database)
    what = "an acknowledged write of each writer after the restart"
    to_all = until(lambda: load.first_since(up, max), what, TIMEOUT_SECONDS, PROBE_PAUSE) - up
    served = [
        (pair, late.since(early))
        for pair, early, late in zip(load.pairs, before, after)
        if not pair.needs(node)
    ]
    texts = [
        f"{pair}: {got.writes} writes, {got.reads} reads, {got.failed} errors"
        for pair, got in served
    ]
    print(
        f"  kill {number} of {node.name}: {'; '.join(texts)}; all writers after {to_all:.2f} s",
        file=sys.stderr,
        flush=True,
    )
    return Round(served, to_all)


def unserved(played: Round) -> list[str]:
    wrong = [
        f"{pair} got {got.writes} writes and {got.reads} reads while another node was down"
        for pair, got in played.served
        if not (got.writes and got.reads)
    ]
    if played.to_all > LONGEST_SECONDS:
        wrong.append(f"a writer had no write for {played.to_all:.1f} s after the restart")
    return wrong
