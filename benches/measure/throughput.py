"""Rows of throughput and latency, each against its limit."""

from __future__ import annotations

from collections.abc import Callable

from . import limits
from .bench import IN_FLIGHT, PGBENCH_CLIENTS, STEADY_RATE, Bench
from .figures import Figure, Result, RowFailed, at_least, at_most
from .peer import Peer
from .processes import Service
from .statements import READS

# Enough for every core, and few enough that none waits until it is shed.
CHECKS_IN_FLIGHT = 8
SMALL, SQLITE_CUSTOMERS = 10_000, 100_000
RESOLVE = f"ResolveRecipients, {IN_FLIGHT} requests in flight"


def resolve(bench: Bench) -> list[Result]:
    against = f"pgbench: the same SELECT, singly, {PGBENCH_CLIENTS} clients"
    row = Result("resolve", RESOLVE, against, "requests/s", at_least(1.3))
    return [
        bench.side_by_side(row, lambda: bench.pgbench("resolve"), lambda: bench.rate("resolve"))
    ]


def empty(bench: Bench) -> list[Result]:
    against = "empty requests to this server, same load generator"
    row = Result("empty", RESOLVE, against, "requests/s", at_least(0.3))
    return [bench.side_by_side(row, lambda: bench.rate("empty"), lambda: bench.rate("resolve"))]


def latency(bench: Bench) -> list[Result]:
    against = "pgbench: the same SELECT, one client, mean"
    row = Result("latency", "ResolveRecipients, one caller, mean", against, "µs", at_most(1.4))

    # With one request at a time this is the mean latency on both sides.
    def mean(alone: Figure) -> Figure:
        return Figure(1e6 / alone.value, alone.raw)

    return [
        bench.side_by_side(
            row,
            lambda: mean(bench.pgbench("resolve", clients=1)),
            lambda: mean(bench.rate("resolve", in_flight=1, connections=1)),
        )
    ]


def stream(name: str, asked: str) -> Callable[[Bench], list[Result]]:
    """Returns a row that compares a stream over all customers with a COPY of their rows."""

    def measure(bench: Bench) -> list[Result]:
        title = f"StreamRecipients, {asked}, invoice"
        row = Result(name, title, "COPY of the same rows by psql", "customers/s", at_least(0.9))

        def ours() -> Figure:
            with Service(bench.tools, bench.url) as service:
                bench.databases.settle(service)
                return stream_all(bench, service, name)

        def limit() -> Figure:
            return limits.copy(bench.folder, bench.url, bench.customers)

        return [bench.side_by_side(row, limit, ours)]

    return measure


def stream_all(bench: Bench, service: Service, name: str) -> Figure:
    figures = bench.observed(
        service.database_url,
        READS,
        lambda: bench.start(service, name, purpose="invoice").figures(),
    )
    if figures["customers"] < bench.customers:
        raise RowFailed(f"the stream answered {figures['customers']} of {bench.customers}")
    return Figure(figures["customers_per_second"], figures)


def compare_with_pgbench(
    name: str, rpc: str, statements: str, goal: float
) -> Callable[[Bench], list[Result]]:
    """Returns a row that compares an RPC with its SQL statements."""

    def measure(bench: Bench) -> list[Result]:
        title = f"{rpc}, {IN_FLIGHT} requests in flight"
        against = f"pgbench: {statements}, {PGBENCH_CLIENTS} clients"
        row = Result(name, title, against, "requests/s", at_least(goal))
        script = name.replace("-", "_")
        return [bench.side_by_side(row, lambda: bench.pgbench(script), lambda: bench.rate(name))]

    return measure


def find_customers(bench: Bench) -> list[Result]:
    """Compares a search over all customers with a read of one contact, at the same steady rate."""
    title = f"FindCustomers, p99 at {STEADY_RATE} requests/s"
    row = Result("find-customers", title, "GetContact, p99 at the same rate", "µs", at_most(3))
    # As in production: each search is counted against the limit of its agent.
    counted = {"CHANNEL_CHECKS_PER_MINUTE": "1000000"}

    def p99(rpc: str) -> Figure:
        figures = bench.load(bench.url, rpc, rate=STEADY_RATE, settings=counted)
        return Figure(figures["p99_us"], figures)

    return [bench.side_by_side(row, lambda: p99("get-contact"), lambda: p99("find-customers"))]


def check_password(bench: Bench) -> list[Result]:
    against = "argon2, the reference program, one process per core"
    row = Result("check-password", "CheckPhonePassword", against, "checks/s", at_least(1.5))

    def ours() -> Figure:
        return bench.rate("check-password", in_flight=CHECKS_IN_FLIGHT)

    return [bench.side_by_side(row, lambda: limits.argon2(bench.folder, bench.seconds), ours)]


def growth(bench: Bench) -> list[Result]:
    few = min(SMALL, bench.customers // 10)
    title = f"ResolveRecipients with {bench.customers:,} customers"
    row = Result("growth", title, f"the same with {few:,}", "requests/s", at_least(0.9))
    small = bench.databases.postgres(few)
    return [
        bench.side_by_side(
            row, lambda: bench.rate("resolve", small, customers=few), lambda: bench.rate("resolve")
        )
    ]


def sqlite(bench: Bench) -> list[Result]:
    customers = min(SQLITE_CUSTOMERS, bench.customers)
    title = f"ResolveRecipients on SQLite, {customers:,} customers"
    row = Result("sqlite", title, "the same on PostgreSQL", "requests/s", at_least(0.9))
    urls = bench.databases.postgres(customers), bench.databases.sqlite(customers)
    return [
        bench.side_by_side(
            row,
            lambda: bench.rate("resolve", urls[0], customers=customers),
            lambda: bench.rate("resolve", urls[1], customers=customers),
        )
    ]


def peer(bench: Bench) -> list[Result]:
    """Compares with a generic API over the same tables: one request for the same rows."""
    against = f"{Peer.describe(bench.tools)}, its defaults: the same rows by GraphQL, one process"
    row = Result("peer", RESOLVE, against, "requests/s", at_least(10))

    def limit() -> Figure:
        with Peer(bench.tools, bench.url) as server:
            return server.rate(bench.customers, IN_FLIGHT, bench.seconds)

    return [bench.side_by_side(row, limit, lambda: bench.rate("resolve"))]
