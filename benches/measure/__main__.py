"""Runs the measurements and writes the results. scripts/bench prepares the tools and runs this."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from . import machine, plots, report, statements
from .bench import Bench
from .databases import Databases
from .processes import Tools
from .rows import ROWS, measure_all

CHECKOUT = Path(__file__).resolve().parent.parent.parent
RESULTS = CHECKOUT / "benches" / "results"
CUSTOMERS, QUICK_CUSTOMERS = 1_000_000, 10_000
SECONDS, QUICK_SECONDS = 5, 1
FEWEST_CUSTOMERS = 1_000


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="for a trial: 10,000 customers, 1 s per measurement"
    )
    parser.add_argument("--customers", type=int, help="number of customers in the database")
    parser.add_argument("--seconds", type=int, help="duration of a measurement")
    parser.add_argument("--only", metavar="ROW,...", help=f"subset of {', '.join(ROWS)}")
    # For scripts/bench, which validates the arguments before it builds anything.
    parser.add_argument("--dry-run", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.customers = args.customers or (QUICK_CUSTOMERS if args.quick else CUSTOMERS)
    args.seconds = args.seconds or (QUICK_SECONDS if args.quick else SECONDS)
    if args.seconds < 1:
        parser.error("--seconds must be at least 1")
    if args.customers < FEWEST_CUSTOMERS:
        parser.error(f"--customers must be at least {FEWEST_CUSTOMERS}")
    chosen = args.only.split(",") if args.only else list(ROWS)
    if unknown := [name for name in chosen if name not in ROWS]:
        parser.error(f"unknown row {', '.join(unknown)}; known: {', '.join(ROWS)}")
    args.rows = [name for name in ROWS if name in chosen]
    return args


def run(args: argparse.Namespace, folder: Path) -> int:
    service, generate, load = (
        Path(os.environ[f"BENCH_{name}"]) for name in ("SERVICE", "GENERATE", "LOAD")
    )
    server_url = os.environ["BENCH_POSTGRES_URL"]
    peer = os.environ.get("BENCH_PEER")
    tools = Tools(service, generate, load, Path(peer) if peer else None, folder)
    statements.create_extension(folder, server_url)
    bench = Bench(tools, Databases(tools, server_url), args.customers, args.seconds)
    about = machine.describe(tools, server_url, CHECKOUT)
    about["customers"] = f"{args.customers:,}, {args.seconds} s per measurement"
    for name, value in about.items():
        print(f"{name}: {value}", file=sys.stderr)
    results = measure_all(bench, args.rows)

    # A partial run does not replace the results of a complete one.
    is_whole = args.rows == list(ROWS) and args.customers >= CUSTOMERS and args.seconds >= SECONDS
    prefix = "latest" if is_whole else "trial"
    options = {"customers": args.customers, "seconds": args.seconds, "rows": args.rows}
    RESULTS.mkdir(exist_ok=True)
    report.write_json(RESULTS / f"{prefix}.json", about, options, results)
    text = report.in_markdown(about, results, plots.write(RESULTS, prefix, results))
    (RESULTS / f"{prefix}.md").write_text(text, encoding="utf-8")
    print("\n".join([*report.table(results), "", report.missed_goals(results)]))
    print(f"written to {RESULTS.relative_to(CHECKOUT)}/{prefix}.md", file=sys.stderr)
    return 1 if any(result.error or not result.is_valid for result in results) else 0


def main() -> int:
    args = parse_arguments()
    if args.dry_run:
        print(*args.rows)
        return 0
    # So that all started processes are terminated on exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="contact-bench.") as folder:
        return run(args, Path(folder))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
