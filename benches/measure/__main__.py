"""Measures and writes the table. scripts/bench prepares what this needs, and calls it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from . import machine, plots, report
from .databases import Databases
from .processes import Tools
from .rows import ROWS, Bench, measure_all

CHECKOUT = Path(__file__).resolve().parent.parent.parent
RESULTS = CHECKOUT / "benches" / "results"
CUSTOMERS, QUICK_CUSTOMERS = 1_000_000, 10_000
SECONDS, QUICK_SECONDS = 5, 1
FEWEST_CUSTOMERS = 1_000


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="to try it out: 10,000 customers, 1 s a measurement"
    )
    parser.add_argument("--customers", type=int, help="how many customers the database holds")
    parser.add_argument("--only", metavar="ROW,...", help=f"some of {', '.join(ROWS)}")
    # For scripts/bench, which looks at the arguments before it builds anything.
    parser.add_argument("--dry-run", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.customers = args.customers or (QUICK_CUSTOMERS if args.quick else CUSTOMERS)
    if args.customers < FEWEST_CUSTOMERS:
        parser.error(f"--customers takes {FEWEST_CUSTOMERS} or more")
    chosen = args.only.split(",") if args.only else list(ROWS)
    if unknown := [name for name in chosen if name not in ROWS]:
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    args.rows = [name for name in ROWS if name in chosen]
    return args


def run(args: argparse.Namespace, folder: Path) -> int:
    service, generate, load = (
        Path(os.environ[f"BENCH_{name}"]) for name in ("SERVICE", "GENERATE", "LOAD")
    )
    server_url = os.environ["BENCH_POSTGRES_URL"]
    tools = Tools(service, generate, load, folder)
    seconds = QUICK_SECONDS if args.quick else SECONDS
    bench = Bench(tools, Databases(tools, server_url), args.customers, seconds)
    about = machine.describe(tools, server_url, CHECKOUT)
    results = measure_all(bench, args.rows)

    # What was not measured in full does not replace what was.
    is_whole = args.rows == list(ROWS) and args.customers >= CUSTOMERS and not args.quick
    prefix = "latest" if is_whole else "trial"
    about["customers"] = f"{args.customers:,}, {seconds} s a measurement"
    options = {"customers": args.customers, "seconds": seconds, "rows": args.rows}
    RESULTS.mkdir(exist_ok=True)
    report.write_json(RESULTS / f"{prefix}.json", about, options, results)
    text = report.in_markdown(about, results, plots.write(RESULTS, prefix, results))
    (RESULTS / f"{prefix}.md").write_text(text, encoding="utf-8")
    print("\n".join([*report.table(results), "", report.missed(results)]))
    print(f"written to {RESULTS.relative_to(CHECKOUT)}/{prefix}.md", file=sys.stderr)
    return 1 if any(result.error for result in results) else 0


def main() -> int:
    args = parse_arguments()
    if args.dry_run:
        print(*args.rows)
        return 0
    # So that everything that was started is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="contact-bench.") as folder:
        return run(args, Path(folder))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
