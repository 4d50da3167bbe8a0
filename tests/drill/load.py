"""Writers that keep a journal of their acknowledged writes, and cursors of the change feed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from contact.v1 import audit_pb2, contact_service_pb2_grpc

from failover.load import Load, Reader, Writer, reason_of
from failover.service import CHANNEL_OPTIONS, Service

WRITERS = 6
WATCH_SECONDS = 10.0


@dataclass(frozen=True)
class Entry:
    """An acknowledged write, with the times of its request and its acknowledgement."""

    begun: float
    acknowledged: float
    customer_number: str
    # Empty: the customer itself.
    contact_id: str = ""
    # The number of the contact's renaming; 0: its creation.
    update: int = 0


class JournalWriter(Writer):
    """A writer with a journal."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.journal: list[Entry] = []

    def _until_acknowledged(self, rpc: str, request: Any) -> Any:
        begun = time.monotonic()
        answer = super()._until_acknowledged(rpc, request)
        of = (begun, time.monotonic())
        if rpc == "UpdateCustomer":
            self.journal.append(Entry(*of, request.customer.customer_number))
        elif rpc == "CreateContact":
            contact = answer.contact
            self.journal.append(Entry(*of, contact.customer_number, contact.contact_id))
        else:
            contact = request.contact
            update = int(contact.display_name.rpartition("/")[2])
            self.journal.append(Entry(*of, contact.customer_number, contact.contact_id, update))
        return answer


class JournalLoad(Load):
    """The writers of a drill."""

    def make_clients(
        self, service: Service, *parts: Any
    ) -> tuple[Sequence[Writer], Sequence[Reader]]:
        return [JournalWriter(self.run, n, service, n, *parts) for n in range(WRITERS)], []

    def journal(self) -> Iterator[Entry]:
        for writer in self.writers:
            assert isinstance(writer, JournalWriter)
            yield from writer.journal


def newest_cursor(service: Service) -> str:
    """Follows the change feed from its start until it waits for events, and returns the cursor."""
    cursor = ""
    while True:
        got, size = watch(service, cursor)
        cursor = got or cursor
        # A page of the feed that is not full is the last one.
        if size < 200:
            return cursor


def watch(service: Service, cursor: str) -> tuple[str, int]:
    """Returns the cursor of the next response, and the number of its events."""
    with grpc.insecure_channel(service.addresses[0], CHANNEL_OPTIONS) as channel:
        stub = contact_service_pb2_grpc.ContactServiceStub(channel)
        request = audit_pb2.WatchChangesRequest(cursor=cursor)
        metadata = [("authorization", f"Bearer {service.token}")]
        stream = stub.WatchChanges(request, metadata=metadata, timeout=WATCH_SECONDS)
        response = next(stream)
        stream.cancel()
        return response.cursor, len(response.events)


def rejection(service: Service, cursor: str) -> str:
    """Returns the reason for which a cursor is rejected; empty if it is honored."""
    try:
        watch(service, cursor)
    except grpc.RpcError as error:
        return reason_of(error) or error.code().name
    return ""
