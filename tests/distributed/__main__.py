"""Plays the proofs. scripts/distributed prepares the programs and runs this."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import grpc
import psycopg

from failover.session import run_in_folder
from support.processes import Failed

from .api import prove_api
from .cluster import FAST_SETTINGS, Cluster
from .kills import prove_coordinator_kills, prove_worker_kills
from .privacy import prove_erasure, prove_rpcs
from .proofs import prove_feed, prove_mails, prove_moves
from .result import Result

API = "api"
Proof = Callable[[Cluster, Path, float], Result]
# By the name that --only takes. Each gets the cluster, a folder for itself, and the scale.
PROOFS: dict[str, Proof] = {
    "rpcs": prove_rpcs,
    "feed": prove_feed,
    "mails": prove_mails,
    "erasure": prove_erasure,
    "worker-kills": prove_worker_kills,
    "coordinator-kills": prove_coordinator_kills,
    "moves": prove_moves,
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/distributed", description=__doc__)
    parser.add_argument("--only", choices=[API, *PROOFS], help="one of the proofs")
    parser.add_argument("--scale", type=float, default=1.0, help="a fraction of it, for a trial")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="keep logs in this folder")
    parser.add_argument("arguments", nargs="*", help="arguments of cargo nextest, after --")
    return parser.parse_args()


def play_all(args: argparse.Namespace, folder: Path) -> int:
    """Plays the selected proofs; returns the number of failed ones."""
    failed = 0
    if args.only in (None, API):
        with running_cluster(folder / "fast", FAST_SETTINGS) as cluster:
            failed += not report(API, partial(prove_api, cluster, args.arguments))
    selected = [name for name in PROOFS if args.only in (None, name)]
    if selected:
        with running_cluster(folder / "durable", {}) as cluster:
            for name in selected:
                proof = partial(PROOFS[name], cluster, folder / name, args.scale)
                failed += not report(name, proof)
    return failed


@contextmanager
def running_cluster(folder: Path, settings: Mapping[str, str]) -> Iterator[Cluster]:
    """Starts a cluster, or finds the one of CITUS_URL."""
    url = os.environ.get("CITUS_URL")
    folder.mkdir()
    if url:
        cluster = Cluster.existing(url)
    else:
        cluster = Cluster.local(folder, Path(os.environ["CITUS_POSTGRES"]), settings)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def report(name: str, prove: Callable[[], Result]) -> bool:
    """Prints the result of a proof; returns true if nothing is wrong."""
    print(f"== {name}", file=sys.stderr, flush=True)
    start = time.monotonic()
    try:
        result = prove()
    except (Failed, AssertionError, grpc.RpcError, psycopg.Error) as error:
        result = Result("failed", [f"{type(error).__name__}: {error}"])
    print(f"{name}: {result.summary} ({time.monotonic() - start:.0f} s)", flush=True)
    for text in result.wrong:
        print(f"  wrong: {text}", flush=True)
    return not result.wrong


if __name__ == "__main__":
    args = parse_arguments()
    sys.exit(run_in_folder("distributed", partial(play_all, args), args.keep))
