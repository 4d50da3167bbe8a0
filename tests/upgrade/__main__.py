"""Plays the upgrades. scripts/upgrade prepares the programs and runs this."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from failover.session import run_in_folder

from . import embedded, shared
from .older_contract import OlderContract, current_files, reduced_files, released_files


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/upgrade", description=__doc__)
    parser.add_argument("--only", choices=["postgres", "sqlite"], help="one of the databases")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="keep logs in this folder")
    parser.add_argument(
        "--no-columns",
        action="store_true",
        help="add no columns: for a previous version whose statements do not name theirs",
    )
    return parser.parse_args()


def versions_of_environment() -> shared.Versions:
    """Reads the binaries, and the older contract, that scripts/upgrade found or built."""
    contracts = {"this contract without some fields": OlderContract(reduced_files())}
    added: set[str] = set()
    released = os.environ.get("UPGRADE_CONTRACT")
    if released:
        older = OlderContract(released_files(Path(released)))
        contracts["that of the previous version"] = older
        added = OlderContract(current_files()).rpcs - older.rpcs
    return shared.Versions(
        Path(os.environ["UPGRADE_PREVIOUS"]),
        Path(os.environ["CONTACT_SERVICE_BIN"]),
        contracts,
        added,
    )


def play_all(args: argparse.Namespace, folder: Path) -> int:
    """Plays the upgrade of each database; returns the number of failed ones."""
    versions = versions_of_environment()
    failed = 0
    if args.only != "sqlite":
        own = folder / "postgres"
        own.mkdir()
        binaries = Path(os.environ["UPGRADE_POSTGRES"])
        failed += not shared.play(own, binaries, versions, not args.no_columns)
    if args.only != "postgres":
        own = folder / "sqlite"
        own.mkdir()
        failed += not embedded.play(own, versions)
    return failed


if __name__ == "__main__":
    args = parse_arguments()
    sys.exit(run_in_folder("upgrade", partial(play_all, args), args.keep))
