"""The rows of the table of goals: measurements and their references."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from support.memory import MemoryWatch
from support.processes import Failed

from . import limits
from .databases import SEED, Databases, psql
from .figures import Figure, Result, RowFailed, at_least, at_most
from .processes import LONGEST_SECONDS, Load, Service, Tools

TURNS = 3
WARM_UP = 1
IN_FLIGHT, CONNECTIONS = 64, 4
PGBENCH_CLIENTS = 16
# Enough for every core, and few enough that none waits until it is shed.
CHECKS_IN_FLIGHT = 8
# More than there are hash permits, so that some always wait, and some may be shed.
FLOOD_IN_FLIGHT = 16
FLOOD_LEAD = 1.5
STEADY_RATE = 250
MEMORY_GOAL_MIB = 150
SMALL, SQLITE_CUSTOMERS = 10_000, 100_000
# Events that a background job of the service has to process during the measurement.
EVENTS_PER_CUSTOMER, FEWEST_EVENTS = 10, 300_000


@dataclass
class Bench:
    """Inputs of a row: the tools, the databases, and the duration of a measurement."""

    tools: Tools
    databases: Databases
    customers: int
    seconds: int

    @property
    def url(self) -> str:
        """The large database."""
        return self.databases.postgres(self.customers)

    @property
    def folder(self) -> Path:
        return self.tools.folder

    def start(self, service: Service, rpc: str, **options: int | str) -> Load:
        """Starts sending requests to a service. The defaults suit most rows."""
        usual: dict[str, int | str] = {
            "customers": self.customers,
            "seed": SEED,
            "connections": CONNECTIONS,
            "in_flight": IN_FLIGHT,
            "seconds": self.seconds,
            "warm_up": WARM_UP,
        }
        return Load(service, rpc, **{**usual, **options})

    def load(self, url: str, rpc: str, **options: int | str) -> dict[str, Any]:
        """Returns the figures of requests to a service started for this measurement."""
        with Service(self.tools, url) as service:
            return self.start(service, rpc, **options).figures()

    def rate(self, rpc: str, url: str = "", **options: int | str) -> Figure:
        figures = self.load(url or self.url, rpc, **options)
        if not figures["requests_per_second"]:
            raise RowFailed(f"load {rpc} completed no request")
        return Figure(figures["requests_per_second"], figures)

    def pgbench(self, script: str, clients: int = PGBENCH_CLIENTS) -> Figure:
        return limits.pgbench(self.folder, self.url, script, self.customers, clients, self.seconds)


def side_by_side(result: Result, limit: Callable[[], Figure], ours: Callable[[], Figure]) -> Result:
    """Measures the reference and the service in turns, so that noise affects both."""
    for turn in range(1, TURNS + 1):
        result.limits.append(limit())
        result.ours.append(ours())
        print(
            f"  {result.name} {turn}/{TURNS}: {result.limits[-1].value:,.1f} to"
            f" {result.ours[-1].value:,.1f} {result.unit}",
            file=sys.stderr,
            flush=True,
        )
    return result


def resolve(bench: Bench) -> list[Result]:
    title = f"ResolveRecipients, {IN_FLIGHT} requests in flight"
    against = f"pgbench: the same SELECT, singly, {PGBENCH_CLIENTS} clients"
    row = Result("resolve", title, against, "requests/s", at_least(1.0))
    return [side_by_side(row, lambda: bench.pgbench("resolve"), lambda: bench.rate("resolve"))]


def empty(bench: Bench) -> list[Result]:
    title = f"ResolveRecipients, {IN_FLIGHT} requests in flight"
    against = "empty requests to this server, same load generator"
    row = Result("empty", title, against, "requests/s", at_least(0.6))
    return [side_by_side(row, lambda: bench.rate("empty"), lambda: bench.rate("resolve"))]


def latency(bench: Bench) -> list[Result]:
    against = "pgbench: the same SELECT, one client, mean"
    row = Result("latency", "ResolveRecipients, one caller, mean", against, "µs", at_most(2.0))

    # With one request at a time this is the mean latency on both sides.
    def mean(alone: Figure) -> Figure:
        return Figure(1e6 / alone.value, alone.raw)

    return [
        side_by_side(
            row,
            lambda: mean(bench.pgbench("resolve", clients=1)),
            lambda: mean(bench.rate("resolve", in_flight=1, connections=1)),
        )
    ]


def stream(bench: Bench) -> list[Result]:
    title = "StreamRecipients, all customers, invoice"
    row = Result("stream", title, "COPY of the same rows by psql", "customers/s", at_least(0.4))

    def ours() -> Figure:
        with Service(bench.tools, bench.url) as service:
            return stream_all(bench, service)

    return [side_by_side(row, lambda: limits.copy(bench.folder, bench.url, bench.customers), ours)]


def stream_all(bench: Bench, service: Service) -> Figure:
    figures = bench.start(service, "stream", purpose="invoice").figures()
    if figures["customers"] < bench.customers:
        raise RowFailed(f"the stream answered {figures['customers']} of {bench.customers}")
    return Figure(figures["customers_per_second"], figures)


def compare_with_pgbench(name: str, rpc: str, statements: str) -> Callable[[Bench], list[Result]]:
    """Returns a row that compares an RPC with its SQL statements."""

    def measure(bench: Bench) -> list[Result]:
        title = f"{rpc}, {IN_FLIGHT} requests in flight"
        against = f"pgbench: {statements}, {PGBENCH_CLIENTS} clients"
        row = Result(name, title, against, "requests/s", at_least(0.5))
        script = name.replace("-", "_")
        return [side_by_side(row, lambda: bench.pgbench(script), lambda: bench.rate(name))]

    return measure


def check_password(bench: Bench) -> list[Result]:
    against = "argon2, the reference program, one process per core"
    row = Result("check-password", "CheckPhonePassword", against, "checks/s", at_least(0.95))

    def ours() -> Figure:
        return bench.rate("check-password", in_flight=CHECKS_IN_FLIGHT)

    return [side_by_side(row, lambda: limits.argon2(bench.folder, bench.seconds), ours)]


def flood(bench: Bench) -> list[Result]:
    return [flooded(bench, "PostgreSQL", bench.url, bench.customers)]


def flood_sqlite(bench: Bench) -> list[Result]:
    customers = min(SQLITE_CUSTOMERS, bench.customers)
    return [flooded(bench, "SQLite", bench.databases.sqlite(customers), customers)]


def flooded(bench: Bench, kind: str, url: str, customers: int) -> Result:
    # Production uses PostgreSQL; the figures of SQLite are for information.
    name, goal = ("flood", at_most(2.0)) if kind == "PostgreSQL" else ("flood-sqlite", None)
    title = f"ResolveRecipients, p99 while password checks flood, {kind}"
    row = Result(name, title, "the same without the flood", "µs", goal)
    steady: dict[str, int | str] = {"rate": STEADY_RATE, "customers": customers}

    def calm() -> Figure:
        figures = bench.load(url, "resolve", **steady)
        return Figure(figures["p99_us"], figures)

    def disturbed() -> Figure:
        with Service(bench.tools, url) as service:
            checks = bench.start(
                service,
                "check-password",
                customers=customers,
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
        return Figure(figures["p99_us"], {**figures, "flood": flooding})

    return side_by_side(row, calm, disturbed)


@dataclass(frozen=True)
class Job:
    """A background job of the service with many events to process."""

    name: str
    title: str
    # Time and feed position of the events.
    event_time: str
    position: str
    # Condition of unprocessed events.
    left: str


RETENTION = Job(
    "retention",
    "old events are deleted",
    "now() - interval '2 years' + n * interval '1 second'",
    "last_position + n",
    "event_time < now() - interval '400 days'",
)
SEQUENCING = Job(
    "sequencing",
    "imported events are sequenced in the feed",
    "now()",
    "NULL",
    "feed_position IS NULL",
)


def retention(bench: Bench) -> list[Result]:
    return [measure_during_job(bench, RETENTION), measure_during_job(bench, SEQUENCING)]


def measure_during_job(bench: Bench, job: Job) -> Result:
    events = max(FEWEST_EVENTS, EVENTS_PER_CUSTOMER * bench.customers)
    title = f"ResolveRecipients, p99 while {events:,} {job.title}"
    row = Result(job.name, title, "the same without", "µs", at_most(1.5))
    # Newly loaded rows have no statistics.
    url = bench.databases.copy(
        bench.customers,
        job.name,
        "ALTER TABLE audit_events SET (autovacuum_enabled = off)",
        "INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, kind,"
        " changed_fields, feed_position) SELECT 'E-' || lpad((n / 5)::text, 8, '0'), n % 5,"
        f" gen_random_uuid(), {job.event_time}, 'bench', 'contact.updated', '[]', {job.position}"
        f" FROM change_feed, generate_series(1, {events}) n",
        "UPDATE change_feed SET last_position ="
        " (SELECT coalesce(max(feed_position), 0) FROM audit_events)",
    )

    def is_left() -> bool:
        query = f"SELECT 1 FROM audit_events WHERE {job.left} LIMIT 1"
        return bool(psql(bench.folder, url, query))

    def disturbed() -> Figure:
        figures = bench.load(url, "resolve", rate=STEADY_RATE)
        if not is_left():
            raise RowFailed(f"{job.name} ended before the measurement")
        return Figure(figures["p99_us"], figures)

    def calm() -> Figure:
        figures = bench.load(bench.url, "resolve", rate=STEADY_RATE)
        return Figure(figures["p99_us"], figures)

    side_by_side(row, calm, disturbed)
    start = time.monotonic()
    with Service(bench.tools, url):
        while is_left():
            if time.monotonic() - start > LONGEST_SECONDS:
                raise RowFailed(f"{job.name} does not end")
            time.sleep(1)
    seconds = time.monotonic() - start
    print(f"  {job.name} ended {seconds:.0f} s after the last turn", file=sys.stderr, flush=True)
    row.ours[-1].raw["ended_after_seconds"] = seconds
    return row


def growth(bench: Bench) -> list[Result]:
    few = min(SMALL, bench.customers // 10)
    title = f"ResolveRecipients with {bench.customers:,} customers"
    row = Result("growth", title, f"the same with {few:,}", "requests/s", at_least(0.9))
    small = bench.databases.postgres(few)
    return [
        side_by_side(
            row, lambda: bench.rate("resolve", small, customers=few), lambda: bench.rate("resolve")
        )
    ]


def memory(bench: Bench) -> list[Result]:
    """The highest of all turns counts, not the median."""
    title = f"memory while {bench.customers:,} customers are streamed"
    text = f"<= {MEMORY_GOAL_MIB} MiB"
    goals = at_most(1.0, text), at_most(1.1)
    peak = Result("memory", f"{title}: peak", "the goal", "MiB", goals[0], summarise=max)
    flat = Result(
        "memory-flat", f"{title}: second half", "its first half", "MiB", goals[1], summarise=max
    )
    for turn in range(1, TURNS + 1):
        with Service(bench.tools, bench.url) as service, MemoryWatch(service.pid) as watch:
            figures = stream_all(bench, service).raw
        samples = watch.samples
        if not samples:
            raise RowFailed("no memory was sampled")
        middle = samples[-1].seconds / 2
        first = [s.resident_mib for s in samples if s.seconds <= middle] or [
            samples[0].resident_mib
        ]
        second = [s.resident_mib for s in samples if s.seconds > middle]
        raw = {"stream": figures, "samples": [asdict(sample) for sample in samples]}
        peak.limits.append(Figure(MEMORY_GOAL_MIB))
        peak.ours.append(Figure(max(sample.peak_mib for sample in samples), raw))
        flat.limits.append(Figure(max(first)))
        flat.ours.append(Figure(max(second)))
        print(
            f"  memory {turn}/{TURNS}: {peak.ours[-1].value:,.1f} MiB", file=sys.stderr, flush=True
        )
    return [peak, flat]


def sqlite(bench: Bench) -> list[Result]:
    customers = min(SQLITE_CUSTOMERS, bench.customers)
    title = f"ResolveRecipients on SQLite, {customers:,} customers"
    row = Result("sqlite", title, "the same on PostgreSQL", "requests/s", at_least(0.5))
    urls = bench.databases.postgres(customers), bench.databases.sqlite(customers)
    return [
        side_by_side(
            row,
            lambda: bench.rate("resolve", urls[0], customers=customers),
            lambda: bench.rate("resolve", urls[1], customers=customers),
        )
    ]


# In the order of the table of goals.
ROWS: dict[str, Callable[[Bench], list[Result]]] = {
    "resolve": resolve,
    "empty": empty,
    "latency": latency,
    "stream": stream,
    "get-contact": compare_with_pgbench("get-contact", "GetContact", "the same SELECT"),
    "verify-channel": compare_with_pgbench("verify-channel", "VerifyContactChannel", "the same SELECTs"),
    "create-contact": compare_with_pgbench("create-contact", "CreateContact", "the same transaction"),
    "update-contact": compare_with_pgbench("update-contact", "UpdateContact", "the same transaction"),
    "check-password": check_password,
    "flood": flood,
    "retention": retention,
    "growth": growth,
    "memory": memory,
    "sqlite": sqlite,
    "flood-sqlite": flood_sqlite,
}
# These change data that others read, and so are measured last.
WRITING = ["create-contact", "update-contact", "check-password", "flood", "flood-sqlite"]


def measure_all(bench: Bench, names: list[str]) -> list[Result]:
    measured = {name: measure(bench, name) for name in sorted(names, key=WRITING.__contains__)}
    return [result for name in names for result in measured[name]]


def measure(bench: Bench, name: str) -> list[Result]:
    """Returns the rows of a name. A failure becomes a row of its own."""
    print(f"measuring {name}", file=sys.stderr, flush=True)
    try:
        return ROWS[name](bench)
    except (Failed, OSError, KeyError, subprocess.SubprocessError) as failure:
        why = str(failure) if isinstance(failure, Failed) else repr(failure)
        print(f"  {name} FAILED: {why}", file=sys.stderr, flush=True)
        return [Result(name, "", "", "", None, error=why)]
