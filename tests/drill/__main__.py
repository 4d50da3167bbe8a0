"""Plays the drills. scripts/drill prepares the programs and runs this."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from failover.service import SCOPES, Service
from failover.session import run_in_folder
from support.polling import until

from .checks import Verdict, check
from .databases import Postgres, Sqlite, customers
from .load import JournalLoad, newest_cursor, rejection

DATABASES = {"postgres": Postgres, "sqlite": Sqlite}
# Writes before and after each step; the load is no benchmark.
WRITES = 300
TIMEOUT_SECONDS = 60.0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/drill", description=__doc__)
    parser.add_argument("--only", choices=list(DATABASES), help="one of the databases")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="keep logs in this folder")
    parser.add_argument("--writes", type=int, default=WRITES, help=f"of each step ({WRITES})")
    return parser.parse_args()


def play_all(args: argparse.Namespace, folder: Path) -> int:
    """Plays the drill of each database; returns the number of failed ones."""
    failed = 0
    for name, database in DATABASES.items():
        if not args.only or args.only == name:
            own = folder / name
            own.mkdir()
            failed += not play(database(own, Path(os.environ["DRILL_POSTGRES"])), args.writes)
    return failed


def play(database: Postgres | Sqlite, writes: int) -> bool:
    with ExitStack() as stack:
        stack.callback(database.stop)
        binary = Path(os.environ["CONTACT_SERVICE_BIN"])
        folder = database.folder / "service"
        folder.mkdir()
        settings = {"DATABASE_URL": database.url}
        scopes = f"{SCOPES} changes.watch"
        service = Service(binary, folder, [settings], scopes=scopes)
        stack.callback(service.end)
        service.start()
        load = JournalLoad(service, "D")
        load.start()
        try:
            wait_for(load, writes)
            database.back_up(service)
            wait_for(load, writes)
            live = verify(service)
            cursors = [newest_cursor(service)]
            point = database.point(service)
            wait_for(load, writes)
            cursors.append(newest_cursor(service))
        finally:
            load.stop()
        service.stop()
        begun = time.monotonic()
        database.restore()
        seconds = time.monotonic() - begun
        settings = {"DATABASE_URL": database.restored_url}
        restored = Service(binary, folder, [settings], ("migrate", "renew-feed"), scopes)
        stack.callback(restored.end)
        verified = verify(restored)
        found = customers(database), database.contacts()
        restored.start()
        verdict = check(load.journal(), point, *found)
        for cursor in cursors:
            reason = rejection(restored, cursor)
            if reason != "CURSOR_EXPIRED":
                verdict.wrong.append(f"an old cursor is answered by {reason or 'changes'}")
        if not newest_cursor(restored):
            verdict.wrong.append("the change feed cannot be read from its start")
        restored.stop()
    print(summary(database.name, verdict, seconds), flush=True)
    print(f"  verify-data under load: {live}")
    print(f"  verify-data after the restore: {verified}", flush=True)
    for text in verdict.wrong:
        print(f"  wrong: {text}", flush=True)
    return not verdict.wrong


def wait_for(load: JournalLoad, writes: int) -> None:
    """Waits until the load has got more acknowledgements."""
    before = load.acknowledged()

    def is_enough() -> bool:
        load.expect_alive()
        return load.acknowledged() >= before + writes

    until(is_enough, "writes", TIMEOUT_SECONDS)


def verify(service: Service) -> str:
    """Runs verify-data, which must have no findings; returns its numbers."""
    # Its numbers are on standard error.
    findings = service.run("verify-data")
    return findings or "no findings"


def summary(name: str, verdict: Verdict, seconds: float) -> str:
    return (
        f"{name}: {verdict.before:,} writes acknowledged before the point, {verdict.after:,} begun"
        f" after it; {verdict.restored:,} restored in {seconds:.1f} s;"
        f" {len(verdict.wrong)} wrong"
    )


if __name__ == "__main__":
    args = parse_arguments()
    sys.exit(run_in_folder("drill", partial(play_all, args), args.keep))
