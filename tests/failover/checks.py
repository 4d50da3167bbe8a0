"""Checks after the last acknowledged write."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import psycopg
from contact.v1 import contact_pb2, contact_service_pb2_grpc

from .load import Load
from .service import CHANNEL_OPTIONS, Service

# Errors that clients may get while there is no primary, with their only valid reason.
ALLOWED = "UNAVAILABLE DATABASE_UNAVAILABLE"
SHOWN = 5
Connect = Callable[[], "psycopg.Connection[tuple[object, ...]]"]


@dataclass
class Verdict:
    """The results of all clients of a run."""

    acknowledged: int
    reads: int
    statuses: Counter[str]
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    # Descriptions of all failed checks.
    wrong: list[str] = field(default_factory=list)

    def writes(self) -> str:
        return (
            f"{self.acknowledged:,} acknowledged writes, {len(self.lost)} lost,"
            f" {len(self.repeated)} not done exactly once"
        )

    def responses(self) -> str:
        unavailable = self.statuses[ALLOWED]
        others = self.statuses.total() - unavailable
        return f"{self.reads:,} reads; UNAVAILABLE {unavailable:,}, others {others:,}"


def check(connect: Connect, service: Service, load: Load) -> Verdict:
    """Compares what was acknowledged with what is found by SQL, by `connect`, and by the API."""
    verdict = Verdict(
        load.acknowledged(),
        sum(reader.reads for reader in load.readers),
        load.statuses.counts,
    )
    expected = {
        (contact.customer_number, contact.contact_id): contact for contact in load.contacts()
    }
    names = {key: contact.name for key, contact in expected.items()}
    compare("SQL", names, names_by_sql(connect, load.run), verdict)
    compare("the API", names, names_by_api(service, {key[0] for key in names}), verdict)
    events = events_by_sql(connect, load.run)
    for key, contact in expected.items():
        done = events.get((*key, "contact.created"), 0), events.get((*key, "contact.updated"), 0)
        if done != (1, contact.updates):
            verdict.repeated.append(f"{contact.mark}: made {done[0]}, renamed {done[1]} times")
    verdict.wrong += shown("lost", verdict.lost) + shown("not done exactly once", verdict.repeated)
    stale = [text for reader in load.readers for text in reader.stale]
    verdict.wrong += shown("read too old", stale)
    verdict.wrong += [
        f"{count} calls were answered {status}, the first at {load.statuses.first[status]}"
        for status, count in load.statuses.counts.items()
        if status != ALLOWED
    ]
    verdict.wrong += wrong_lines(service.log(), load.run)
    return verdict


def compare(
    where: str,
    expected: dict[tuple[str, str], str],
    found: dict[tuple[str, str], str],
    verdict: Verdict,
) -> None:
    for key, name in expected.items():
        if found.get(key) != name:
            verdict.lost.append(f"{name} (by {where}: {found.get(key)})")
    for key in found.keys() - expected.keys():
        verdict.repeated.append(f"{found[key]} (by {where}) was never acknowledged")


def names_by_sql(connect: Connect, run: str) -> dict[tuple[str, str], str]:
    with connect() as connection:
        rows = connection.execute(
            "SELECT customer_number, contact_id::text, display_name FROM contacts"
            " WHERE customer_number LIKE %s",
            [f"{run}-%"],
        ).fetchall()
    return {(str(number), str(contact_id)): str(name) for number, contact_id, name in rows}


def events_by_sql(connect: Connect, run: str) -> dict[tuple[str, str, str], int]:
    with connect() as connection:
        rows = connection.execute(
            "SELECT customer_number, contact_id::text, kind, count(*)::int FROM audit_events"
            " WHERE customer_number LIKE %s AND contact_id IS NOT NULL GROUP BY 1, 2, 3",
            [f"{run}-%"],
        ).fetchall()
    return {(str(row[0]), str(row[1]), str(row[2])): int(str(row[3])) for row in rows}


def names_by_api(service: Service, customers: set[str]) -> dict[tuple[str, str], str]:
    found = {}
    metadata = [("authorization", f"Bearer {service.token}")]
    with grpc.insecure_channel(service.addresses[0], CHANNEL_OPTIONS) as channel:
        stub = contact_service_pb2_grpc.ContactServiceStub(channel)
        for customer in customers:
            request = contact_pb2.ListContactsRequest(customer_number=customer, page_size=1000)
            answer = stub.ListContacts(request, metadata=metadata, timeout=10)
            for contact in answer.contacts:
                found[customer, contact.contact_id] = contact.display_name
    return found


def wrong_lines(log: str, run: str) -> list[str]:
    """Returns panics, server errors and row values; all names start with the run's prefix."""
    # The driver's pool logs an error when a new connection leads nowhere yet, and the readiness probe
    # when the database is unreachable.
    expected = r"sqlx_core::pool|contact_service::server::readiness"
    wrong = re.compile(rf" ERROR (?!{expected})|panicked|\b{re.escape(run)}-\d+-")
    return shown("logged", [line for line in log.splitlines() if wrong.search(line)])


def shown(what: str, texts: list[str]) -> list[str]:
    more = [f"{what}: and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else []
    return [f"{what}: {text}" for text in texts[:SHOWN]] + more
