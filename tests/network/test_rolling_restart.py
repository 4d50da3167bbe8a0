"""Restarts two instances one after the other under load; no request of a client with one retry fails.

Each instance is held up by an open stream that continues for a while, and by connections without
requests. The shipped service config retries reads, the client retries writes under the same request
id.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from support import report
from support.contacts import Contacts
from support.database import Database

from support.network.clients import Load, RequestCounts, send_requests
from support.network.holders import IdleConnections, OpenStream
from support.network.instance import Instance
from support.network.spawned import Spawned

# Of both instances.
ROLLING_RESTARTS = int(os.environ.get("NETWORK_RESTARTS", "50"))
REQUESTS_PER_SECOND = int(os.environ.get("NETWORK_RATE", "500"))
INSTANCES = 2
CUSTOMERS = 100
LONGEST_EXIT_SECONDS = 30
# Clients find the instance again within their longest reconnect backoff; until then the other one
# must stay. In Kubernetes this is minReadySeconds.
SETTLE_SECONDS = float(os.environ.get("NETWORK_SETTLE", "3"))
# Well after the drain began, and well before it ends.
DRAINING_SECONDS = 5
SCOPES = "customers.read customers.write contact_data.write contacts.read contacts.write recipients.resolve"
RENAMED = "audit_events WHERE kind = 'contact.updated'"


@dataclass
class Stops:
    """The shutdowns of the instances."""

    exits: list[float] = field(default_factory=list)
    streams: list[grpc.StatusCode] = field(default_factory=list)


def test_rolling_restart(tmp_path: Path, database: Database):
    stops = Stops()
    with ExitStack() as stack:
        instances = [
            stack.enter_context(Instance(tmp_path, database)) for _ in range(INSTANCES)
        ]
        for instance in instances:
            instance.start()
        contacts = [people(instances[0].contacts) for _ in range(CUSTOMERS)]
        token = instances[0].run("token", "--sub", "load", "--scope", SCOPES, "--ttl", "24h")
        before = database.count(RENAMED)
        load = Load(
            [instance.grpc_address for instance in instances],
            token,
            [(contact.customer_number, contact.contact_id) for contact in contacts],
            REQUESTS_PER_SECOND,
        )
        clients = Spawned(send_requests, load, RequestCounts())
        try:
            with clients:
                for _ in range(ROLLING_RESTARTS):
                    for instance in instances:
                        restart(instance, token, contacts[0].customer_number, stops)
        finally:
            failed_starts = sum(instance.failed_starts for instance in instances)
            add_to_report(clients.result, stops, failed_starts)
        check(clients.result, stops, database.count(RENAMED) - before)
        for instance in instances:
            instance.stop()


def people(contacts: Contacts):
    return contacts.create_contact(contacts.create_customer())


def restart(instance: Instance, token: str, customer: str, stops: Stops) -> None:
    address = instance.grpc_address
    with OpenStream(address, token, customer) as stream, IdleConnections(address):
        start = time.monotonic()
        with ThreadPoolExecutor(1) as stopper:
            stopping = stopper.submit(instance.stop)
            # Requests in flight continue until they finish or the drain ends.
            for _ in range(DRAINING_SECONDS):
                time.sleep(1)
                stream.request()
            stopping.result()
        stops.exits.append(time.monotonic() - start)
        stops.streams.append(stream.end())
    instance.start_with_restarts()
    time.sleep(SETTLE_SECONDS)


def check(outcome: RequestCounts, stops: Stops, renamed: int) -> None:
    assert outcome.failed == 0, "\n".join(outcome.first_failures)
    assert max(stops.exits) <= LONGEST_EXIT_SECONDS
    assert set(stops.streams) == {grpc.StatusCode.UNAVAILABLE}, "how streams were cut off"
    # Neither lost nor applied twice, regardless of retries.
    assert renamed == outcome.acknowledged
    assert outcome.requests >= REQUESTS_PER_SECOND * sum(stops.exits) * 0.95, "the load was lighter"


def add_to_report(outcome: RequestCounts, stops: Stops, failed_starts: int) -> None:
    report.add(
        "rolling restarts",
        restarts=len(stops.exits),
        requests=outcome.requests,
        per_second=REQUESTS_PER_SECOND,
        failed=outcome.failed,
        writes=outcome.writes,
        written_again=outcome.written_again,
        slowest=f"{outcome.slowest_seconds:.2f} s",
        load_delay=f"{outcome.latest_seconds:.2f} s",
        failed_starts=failed_starts,
        shortest_exit=f"{min(stops.exits, default=0):.1f} s",
        longest_exit=f"{max(stops.exits, default=0):.1f} s",
    )
