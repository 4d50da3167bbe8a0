"""Readers of the change feed, and what they missed or saw twice."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict

import grpc
from contact.v1 import audit_pb2, contact_service_pb2_grpc

from failover.service import CHANNEL_OPTIONS, Service
from support.polling import until

from .cluster import Database

TIMEOUT_SECONDS = 120.0


class Watcher(threading.Thread):
    """Watches all changes through one instance, from the beginning of the feed."""

    def __init__(self, service: Service, address: str) -> None:
        super().__init__(daemon=True)
        # Customer number and id of every event.
        self.seen: list[tuple[str, str]] = []
        self.failure: str | None = None
        self._is_stopped = False
        self._channel = grpc.insecure_channel(address, CHANNEL_OPTIONS)
        stub = contact_service_pb2_grpc.ContactServiceStub(self._channel)
        metadata = [("authorization", f"Bearer {service.token}")]
        self._stream = stub.WatchChanges(audit_pb2.WatchChangesRequest(), metadata=metadata)

    def run(self) -> None:
        try:
            for answer in self._stream:
                self.seen += [(event.customer_number, event.event_id) for event in answer.events]
            self.failure = "the stream ended"
        except grpc.RpcError as error:
            if not self._is_stopped:
                self.failure = f"the stream failed: {error.code().name} {error.details()}"

    def stop(self) -> None:
        self._is_stopped = True
        self._stream.cancel()
        self.join(10)
        self._channel.close()


def committed_events(database: Database) -> list[tuple[str, str]]:
    """Returns all events, those of a customer in the order of their commits."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT customer_number, event_id::text FROM audit_events"
            " ORDER BY customer_number, sequence"
        ).fetchall()
    return [(str(number), str(event_id)) for number, event_id in rows]


def sequenced_events(database: Database) -> list[tuple[str, str]]:
    """Returns the entries of the feed in its order."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT customer_number, event_id::text FROM feed_entries ORDER BY position"
        ).fetchall()
    return [(str(number), str(event_id)) for number, event_id in rows]


def wait_for_events(watchers: list[Watcher], count: int) -> None:
    """Waits until each watcher has this many events, or has failed; the comparison says more."""

    def is_complete() -> bool:
        return all(watcher.failure or len(watcher.seen) >= count for watcher in watchers)

    try:
        until(is_complete, "the watchers", TIMEOUT_SECONDS, pause=0.2)
    except AssertionError:
        return


def compare_events(
    name: str, expected: list[tuple[str, str]], seen: list[tuple[str, str]]
) -> tuple[str, list[str]]:
    """Returns the counts of a reader of the feed, and what is wrong."""
    counts = Counter(seen)
    missed = set(expected) - counts.keys()
    unknown = counts.keys() - set(expected)
    twice = [event for event, count in counts.items() if count > 1]
    by_reader = by_customer(seen)
    disordered = [
        number for number, ids in by_customer(expected).items() if by_reader[number] != ids
    ]
    text = f"{name} {len(seen):,} events, {len(missed)} missed, {len(twice)} twice"
    wrong = [f"{name} missed {number} {event}" for number, event in sorted(missed)[:5]]
    wrong += [f"{name} saw {number} {event} twice" for number, event in twice[:5]]
    wrong += [f"{name} saw {number} {event}, which is not committed" for number, event in unknown]
    if not wrong:
        wrong += [
            f"{name} saw the events of {number} in another order" for number in disordered[:5]
        ]
    return text, wrong


def by_customer(events: list[tuple[str, str]]) -> defaultdict[str, list[str]]:
    ids = defaultdict(list)
    for number, event_id in events:
        ids[number].append(event_id)
    return ids
