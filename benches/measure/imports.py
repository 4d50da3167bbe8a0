"""The row of the import, against COPY of the resulting rows."""

from __future__ import annotations

import csv
import os
import subprocess
import time
from pathlib import Path

from support.processes import environment, last_lines

from .bench import Bench
from .figures import Figure, Result, RowFailed, at_least
from .processes import LONGEST_SECONDS
from .server import psql

# Of a file of a million rows, 300,000 customers have all: ten rows for every three.
ROWS_PER_CUSTOMER = (1, 3, 6)
# A row of a file for this number of customers in the database.
CUSTOMERS_PER_ROW = 10
TABLES = (
    "customers",
    "contacts",
    "contact_phone_numbers",
    "contact_imports",
    "audit_events",
    "feed_inbox",
)
COLUMNS = [
    "customer_number",
    "types",
    "display_name",
    "locale",
    "email",
    "phone_numbers",
    "external_id",
]


def import_rows(bench: Bench) -> list[Result]:
    rows = max(1000, bench.customers // CUSTOMERS_PER_ROW)
    file = bench.folder / "import.csv"
    customers = write_file(file, rows)
    row = Result(
        "import",
        f"import of {rows:,} rows of {customers:,} customers",
        "COPY of the resulting rows",
        "rows/s",
        at_least(0.1),
    )
    done = bench.databases.empty("contacts_import_done")
    bench_import(bench, done, file)

    def limit() -> Figure:
        url = bench.databases.empty("contacts_import")
        return Figure(rows / copy_seconds(bench.folder, done, url))

    def ours() -> Figure:
        url = bench.databases.empty("contacts_import")
        bench.databases.checkpoint()
        seconds = bench_import(bench, url, file)
        found = int(psql(bench.folder, url, "SELECT count(*) FROM contacts"))
        if found != rows:
            raise RowFailed(f"the import wrote {found} of {rows} rows")
        return Figure(rows / seconds, {"seconds": seconds, "rows": rows})

    try:
        return [bench.side_by_side(row, limit, ours)]
    finally:
        bench.databases.drop(done)


def write_file(file: Path, rows: int) -> int:
    """Writes contacts of new customers, and returns the number of customers."""
    written = customers = 0
    with file.open("w", newline="", encoding="utf-8") as output:
        writer = csv.writer(output)
        writer.writerow(COLUMNS)
        while written < rows:
            count = min(ROWS_PER_CUSTOMER[customers % len(ROWS_PER_CUSTOMER)], rows - written)
            for n in range(count):
                writer.writerow(
                    [
                        f"I-{customers:08}",
                        "STANDARD" if n == 0 else "TECHNICAL",
                        f"Anna Schmidt {n}",
                        "de",
                        f"anna.{n}@i{customers:08}.example",
                        f"+4972155{written:07}",
                        f"crm-{written}",
                    ]
                )
                written += 1
            customers += 1
    return customers


def bench_import(bench: Bench, url: str, file: Path) -> float:
    """Imports the file, and returns the seconds."""
    start = time.monotonic()
    ended = subprocess.run(
        [bench.tools.service, "import", file, "--create-customers", "--emails-confirmed"],
        cwd=bench.folder,
        env=environment(DATABASE_URL=url, RUST_LOG="warn"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    seconds = time.monotonic() - start
    if ended.returncode != 0:
        output = last_lines(ended.stdout + ended.stderr)
        raise RowFailed(f"import ended with {ended.returncode}: {output}")
    return seconds


def copy_seconds(folder: Path, source: str, target: str) -> float:
    """Copies the imported rows into a database with the same schema, and returns the seconds
    without those of reading them."""
    files = {table: folder / f"import.{table}.copy" for table in TABLES}
    for table, file in files.items():
        copy(folder, source, f"COPY {table} TO STDOUT", output=file)
    start = time.monotonic()
    for table, file in files.items():
        copy(folder, target, f"COPY {table} FROM STDIN", source=file)
    return time.monotonic() - start


def copy(
    folder: Path,
    url: str,
    statement: str,
    *,
    source: Path | None = None,
    output: Path | None = None,
) -> None:
    with (
        (source or Path(os.devnull)).open("rb") as reader,
        (output or Path(os.devnull)).open("wb") as writer,
    ):
        ended = subprocess.run(
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement],
            cwd=folder,
            env=environment(),
            stdin=reader,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if ended.returncode != 0:
        raise RowFailed(f"COPY failed: {last_lines(ended.stderr)}")
