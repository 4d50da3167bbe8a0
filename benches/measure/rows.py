"""The rows of the table of goals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from support.processes import Failed

from .bench import Bench
from .disturbance import flood, flood_sqlite, retention, sequencing
from .figures import Result
from .imports import import_rows
from .resources import cold_start, idle, memory
from .throughput import (
    check_password,
    compare_with_pgbench,
    empty,
    find_customers,
    growth,
    latency,
    peer,
    resolve,
    sqlite,
    stream,
)

TRANSACTION = "the same transaction"

# In the order of the table of goals.
ROWS: dict[str, Callable[[Bench], list[Result]]] = {
    "resolve": resolve,
    "empty": empty,
    "latency": latency,
    "stream": stream("stream", "all customers by their numbers"),
    "stream-all": stream("stream-all", "all_customers"),
    "get-contact": compare_with_pgbench("get-contact", "GetContact", "the same SELECT", 1.2),
    "verify-channel": compare_with_pgbench(
        "verify-channel", "VerifyContactChannel", "the same statements in one transaction", 1.0
    ),
    "find-customers": find_customers,
    "create-contact": compare_with_pgbench("create-contact", "CreateContact", TRANSACTION, 0.7),
    "update-contact": compare_with_pgbench("update-contact", "UpdateContact", TRANSACTION, 0.7),
    "import": import_rows,
    "check-password": check_password,
    "flood": flood,
    "retention": retention,
    "sequencing": sequencing,
    "growth": growth,
    "memory": memory,
    "sqlite": sqlite,
    "flood-sqlite": flood_sqlite,
    "idle": idle,
    "cold-start": cold_start,
    "peer": peer,
}
# These change data that others read, and so are measured last.
WRITING = [
    "verify-channel",
    "find-customers",
    "create-contact",
    "update-contact",
    "check-password",
    "flood",
    "flood-sqlite",
]


def measure_all(bench: Bench, names: list[str]) -> list[Result]:
    measured = {name: measure(bench, name) for name in sorted(names, key=WRITING.__contains__)}
    return [result for name in names for result in measured[name]]


def measure(bench: Bench, name: str) -> list[Result]:
    """Returns the rows of a name. A failure becomes a row of its own."""
    print(f"measuring {name}", file=sys.stderr, flush=True)
    try:
        bench.databases.refresh()
        return ROWS[name](bench)
    except (Failed, OSError, KeyError, subprocess.SubprocessError) as failure:
        why = str(failure) if isinstance(failure, Failed) else repr(failure)
        print(f"  {name} FAILED: {why}", file=sys.stderr, flush=True)
        return [Result(name, "", "", "", None, error=why)]
