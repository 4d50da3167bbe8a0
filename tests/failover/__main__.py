"""Plays the rounds. scripts/failover prepares the programs and runs this."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from .checks import check
from .cluster import Cluster
from .load import Load
from .pgbouncer import PgBouncer
from .rounds import FAULTS, expect_writes, play, summary, too_long
from .service import Service
from .session import run_in_folder

ROUNDS = 20
INSTANCES = 2
DIRECT, PGBOUNCER = "directly", "through PgBouncer"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/failover", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each fault (default 20)")
    parser.add_argument("--only", choices=["kill", "switchover"], help="one of the faults")
    parser.add_argument("--path", choices=["direct", "pgbouncer"], help="one of the two paths")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="keep logs in this folder")
    parser.add_argument(
        "--asynchronous",
        action="store_true",
        help="for a counter-check: without synchronous replication a kill loses writes",
    )
    return parser.parse_args()


def play_all(args: argparse.Namespace, folder: Path) -> int:
    """Plays all faults on all paths, on one cluster; returns the number of failed modes."""
    cluster = Cluster(folder, Path(os.environ["FAILOVER_POSTGRES"]), not args.asynchronous)
    failed = 0
    with ExitStack() as stack:
        stack.callback(cluster.stop)
        cluster.start()
        for way in (DIRECT, PGBOUNCER):
            if args.path and (args.path == "direct") != (way == DIRECT):
                continue
            for mode in FAULTS:
                if not args.only or mode.startswith(args.only):
                    failed += not play_mode(cluster, way, mode, args.rounds)
    return failed


def play_mode(cluster: Cluster, way: str, mode: str, rounds: int) -> bool:
    binary = Path(os.environ["CONTACT_SERVICE_BIN"])
    run = f"{'D' if way == DIRECT else 'P'}{mode[0].upper()}"
    folder = cluster.folder / f"service-{run}"
    folder.mkdir()
    with ExitStack() as stack:
        url = cluster.url()
        if way == PGBOUNCER:
            cluster.set_timeouts()
            pgbouncer = PgBouncer(cluster, run)
            stack.callback(pgbouncer.stop)
            pgbouncer.start()
            url = pgbouncer.url
        service = Service(binary, folder, [{"DATABASE_URL": url}] * INSTANCES)
        stack.callback(service.end)
        service.start()
        load = Load(service, run)
        load.start()
        try:
            expect_writes(load)
            played = play(cluster, load, mode, rounds)
        finally:
            load.stop()
        cluster.wait_for_standby()
        verdict = check(cluster.connect, service, load)
        verdict.wrong += too_long(played)
        service.stop()
    print(summary(f"{way}, {mode}", played, verdict), flush=True)
    for text in verdict.wrong:
        print(f"  wrong: {text}", flush=True)
    return not verdict.wrong


if __name__ == "__main__":
    args = parse_arguments()
    sys.exit(run_in_folder("failover", partial(play_all, args), args.keep))
