"""Rows of ResolveRecipients while the service does other work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .bench import STEADY_RATE, WARM_UP, Bench
from .figures import Figure, Result, RowFailed, at_most
from .processes import Service
from .server import psql
from .statements import CHECKS, DISTURBED_READS
from .throughput import SQLITE_CUSTOMERS

# More than there are hash permits, so that some always wait, and some may be shed.
FLOOD_IN_FLIGHT = 16
FLOOD_LEAD = 1.5
# Enough events to be sequenced, or deleted, during all turns.
FEWEST_CUSTOMERS = 200_000
EXPIRED = "SELECT 1 FROM audit_events WHERE event_time < now() - interval '1 day' LIMIT 1"
# A deletion begins with the oldest events of the feed.
OLDEST = "SELECT min(event_time) FROM feed_entries"
# The deletion begins half a minute after the start of the service.
LONGEST_WAIT_SECONDS = 90


def flood(bench: Bench) -> list[Result]:
    return [flooded(bench, "PostgreSQL", bench.url, bench.customers)]


def flood_sqlite(bench: Bench) -> list[Result]:
    customers = min(SQLITE_CUSTOMERS, bench.customers)
    return [flooded(bench, "SQLite", bench.databases.sqlite(customers), customers)]


def flooded(bench: Bench, kind: str, url: str, customers: int) -> Result:
    # Production uses PostgreSQL; the figures of SQLite are for information.
    name, goal = ("flood", at_most(1.5)) if kind == "PostgreSQL" else ("flood-sqlite", None)
    title = f"ResolveRecipients, p99 while password checks flood, {kind}"
    row = Result(name, title, "the same without the flood", "µs", goal)
    steady: dict[str, int | str] = {"rate": STEADY_RATE, "customers": customers}

    def calm() -> Figure:
        figures = bench.load(url, "resolve", **steady)
        return Figure(figures["p99_us"], figures)

    def disturbed() -> Figure:
        with Service(bench.tools, url) as service:
            bench.databases.settle(service)
            own = replace(CHECKS, of_elapsed=True)
            figures = bench.observed(url, own, lambda: flood_and_resolve(bench, service, steady))
        return Figure(figures["p99_us"], figures)

    return bench.side_by_side(row, calm, disturbed)


def flood_and_resolve(
    bench: Bench, service: Service, steady: dict[str, int | str]
) -> dict[str, Any]:
    checks = bench.start(
        service,
        "check-password",
        customers=steady["customers"],
        in_flight=FLOOD_IN_FLIGHT,
        # It ends after the requests that it disturbs.
        seconds=bench.seconds + WARM_UP + 2,
    )
    try:
        time.sleep(WARM_UP + FLOOD_LEAD)
        figures = bench.start(service, "resolve", **steady).figures()
        flooding = checks.figures(may_fail=True)
    finally:
        checks.stop()
    # Some may be shed, but the flood must consist of hashes.
    if flooding["requests"] in (0, flooding["failed"]):
        raise RowFailed(f"no check succeeded: {flooding.get('first_error')}")
    return {**figures, "flood": flooding}


def retention(bench: Bench) -> list[Result]:
    """With a retention of a day, all generated events are to be deleted."""
    customers = max(bench.customers, FEWEST_CUSTOMERS)
    calm = bench.databases.postgres(customers)
    url = bench.databases.copy(customers, "retention")

    def oldest() -> str:
        return psql(bench.folder, url, OLDEST)

    def is_left() -> bool:
        return bool(psql(bench.folder, url, EXPIRED))

    row = Result(
        "retention",
        f"ResolveRecipients, p99 while the events of {customers:,} customers are deleted",
        "the same without",
        "µs",
        at_most(1.5),
    )

    def disturbed() -> Figure:
        before = oldest()
        with Service(bench.tools, url, AUDIT_RETENTION_DAYS="1") as service:
            wait_until(lambda: oldest() != before, "the deletion began")
            return resolve_during(bench, service, customers, "the deletion", is_left)

    try:
        return [compare(bench, row, calm, customers, disturbed)]
    finally:
        bench.databases.drop(url)


def sequencing(bench: Bench) -> list[Result]:
    """Measures with the backlog of an import: no event is sequenced."""
    customers = max(bench.customers, FEWEST_CUSTOMERS)
    calm = bench.databases.postgres(customers)
    url = bench.databases.with_backlog(customers)
    row = Result(
        "sequencing",
        f"ResolveRecipients, p99 while an import's backlog of {customers:,} customers is sequenced",
        "the same without",
        "µs",
        at_most(1.5),
    )

    def is_left() -> bool:
        return bench.databases.has_waiting_events(url)

    def disturbed() -> Figure:
        with Service(bench.tools, url) as service:
            return resolve_during(bench, service, customers, "the backlog", is_left)

    try:
        return [compare(bench, row, calm, customers, disturbed)]
    finally:
        bench.databases.drop(url)


def resolve_during(
    bench: Bench, service: Service, customers: int, what: str, is_left: Callable[[], bool]
) -> Figure:
    figures = bench.observed(
        service.database_url,
        DISTURBED_READS,
        lambda: bench.start(service, "resolve", rate=STEADY_RATE, customers=customers).figures(),
    )
    if not is_left():
        raise RowFailed(f"{what} ended before the measurement")
    return Figure(figures["p99_us"], figures)


def wait_until(is_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            raise RowFailed(f"waited {LONGEST_WAIT_SECONDS} s in vain until {what}")
        time.sleep(0.5)


def compare(
    bench: Bench, row: Result, url: str, customers: int, disturbed: Callable[[], Figure]
) -> Result:
    def calm() -> Figure:
        figures = bench.load(url, "resolve", rate=STEADY_RATE, customers=customers)
        return Figure(figures["p99_us"], figures)

    return bench.side_by_side(row, calm, disturbed)
