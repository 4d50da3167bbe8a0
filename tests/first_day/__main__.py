"""Follows the pages on a bare Debian. scripts/first_day makes it and runs this."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from support.processes import Failed

from .day import Day
from .machine import Machine
from .page import commands

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/quickstart.md")
GUIDES = (
    "docs/guides/call-center.md",
    "docs/guides/invoicing.md",
    "docs/guides/master-data.md",
    "docs/guides/portal-bff.md",
    "docs/operations/privacy.md",
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/first_day", description=__doc__)
    parser.add_argument("root", type=Path, help="folder of the root file system")
    parser.add_argument("--toolchain", default="")
    parser.add_argument("--cache", default="")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    table = Table()
    day: Day | None = None
    try:
        day = Day(Machine(args.root, args.toolchain, args.cache))
        follow_pages(day, table)
        follow_guides(day, table)
    except Failed as failed:
        print(f"first_day: {failed}", file=sys.stderr)
        if day:
            print(day.output, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def follow_pages(day: Day, table: Table) -> None:
    for page in PAGES:
        for command in commands(REPOSITORY / page):
            table.add(f"{command.page}:{command.line}", command.name, partial(day.do, command))
        table.add(Path(page).name, "Ctrl+C in the terminal of the service", day.stop)
        day.begin_again()
    table.add("", "until the first response of curl", lambda: day.first_response)


def follow_guides(day: Day, table: Table) -> None:
    quickstart = list(commands(REPOSITORY / "docs/quickstart.md"))
    start = [
        each for each in quickstart if each.text.startswith(("cargo run -- serve", "call() {"))
    ]
    for page in GUIDES:
        guide = list(commands(REPOSITORY / page))
        table.add(Path(page).name, "its requests", partial(day.follow_guide, start, guide))
        day.begin_again()


class Table:
    """A line for each command, printed when it has ended."""

    def add(self, place: str, name: str, step: Callable[[], str]) -> None:
        begin = time.monotonic()
        result = "failed"
        try:
            result = step()
        finally:
            seconds = time.monotonic() - begin
            print(f"{place:<18} {seconds:7.1f} s  {name:<70}  {result}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
