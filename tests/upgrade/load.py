"""Writers, readers and watchers that see every replacement of an instance."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from contact.v1 import (
    audit_pb2,
    contact_pb2,
    contact_service_pb2_grpc,
    customer_pb2,
    phone_pb2,
    recipients_pb2,
)

from failover.load import AGAIN_AFTER, Load, Reader, Statuses, Writer, Written, reason_of
from failover.service import CHANNEL_OPTIONS, Service
from support.contacts import unique_address
from support.processes import Failed

WRITERS, READERS = 4, 2
WITH_EMAIL = 0.2
CHECKED = 0.2
# A client finds a started instance within its longest reconnect backoff.
RECONNECT_SECONDS = 1.0


@dataclass(frozen=True)
class Stop:
    """The time from an instance's SIGTERM until its successor was ready."""

    instance: int
    begun: float
    ended: float

    def explains(self, failure: Failure) -> bool:
        is_then = self.begun <= failure.time <= self.ended + RECONNECT_SECONDS
        is_retryable = failure.status == "UNAVAILABLE"
        return is_then and is_retryable and failure.instance == self.instance


@dataclass(frozen=True)
class Failure:
    """A failed request."""

    instance: int
    time: float
    status: str
    text: str


class InstanceStatuses(Statuses):
    """The failures of the clients of one instance."""

    def __init__(self, instance: int) -> None:
        super().__init__()
        self.instance = instance
        self.failures: list[Failure] = []

    def add(self, error: grpc.RpcError) -> None:
        super().add(error)
        text = f"{reason_of(error)} {error.details()}".strip()
        failure = Failure(self.instance, time.monotonic(), error.code().name, text)
        self.failures.append(failure)


class MailedWriter(Writer):
    """Enters an address for some of the contacts, to which one confirmation is mailed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.emails: list[str] = []

    def next_email(self) -> str:
        if self._random.random() >= WITH_EMAIL:
            return ""
        self.emails.append(unique_address("load"))
        return self.emails[-1]


class MixedReader(Reader):
    """Reads contacts, and in between by other RPCs; checks a phone password."""

    def __init__(self, own: Writer, *args: Any) -> None:
        """`own` has the contact with the password, which no other reader sets."""
        super().__init__(*args)
        self._own = own
        self._password = ""
        self._contact: dict[str, str] = {}
        self.checks = 0

    def step(self) -> None:
        super().step()
        if not self._own.contacts:
            return
        written = self._random.choice(self._own.contacts)
        try:
            if self._random.random() < CHECKED:
                self._check_password(written)
            else:
                self._read(written.customer_number)
        except grpc.RpcError:
            time.sleep(AGAIN_AFTER)
        else:
            self.reads += 1

    def _check_password(self, written: Written) -> None:
        if not self._password:
            self._contact = {
                "customer_number": written.customer_number,
                "contact_id": written.contact_id,
            }
            request = phone_pb2.SetPhonePasswordRequest(**self._contact, generate=True)
            self._password = self.request("SetPhonePassword", request).generated_phone_password
        request = phone_pb2.CheckPhonePasswordRequest(
            **self._contact, phone_password=self._password, call_id=str(uuid.uuid4())
        )
        verdict = self.request("CheckPhonePassword", request).verdict
        if verdict != phone_pb2.PHONE_PASSWORD_VERDICT_MATCH:
            raise Failed(f"a phone password was answered by the verdict {verdict}")
        self.checks += 1

    def _read(self, number: str) -> None:
        rpc, request = self._random.choice(
            [
                ("GetCustomer", customer_pb2.GetCustomerRequest(customer_number=number)),
                ("ListContacts", contact_pb2.ListContactsRequest(customer_number=number)),
                (
                    "BatchResolveRecipients",
                    recipients_pb2.BatchResolveRecipientsRequest(customer_number=number),
                ),
                ("ListAuditEvents", audit_pb2.ListAuditEventsRequest(customer_number=number)),
            ]
        )
        self.request(rpc, request)


class UpgradeLoad(Load):
    """Clients that are distributed over the instances, with the failures of each instance."""

    def make_clients(
        self, service: Service, _: Statuses, stop: threading.Event
    ) -> tuple[Sequence[Writer], Sequence[Reader]]:
        count = len(service.addresses)
        self.by_instance = [InstanceStatuses(number) for number in range(count)]

        def parts(number: int) -> tuple[Any, ...]:
            return service, number, self.by_instance[number % count], stop

        writers = [MailedWriter(self.run, n, *parts(n)) for n in range(WRITERS)]
        return writers, [
            MixedReader(writers[n], writers, *parts(n)) for n in range(READERS)
        ]

    def failures(self) -> list[Failure]:
        return [failure for each in self.by_instance for failure in each.failures]

    def reads(self) -> int:
        return sum(reader.reads for reader in self.readers)

    def checks(self) -> int:
        return sum(reader.checks for reader in self.readers if isinstance(reader, MixedReader))

    def emails(self) -> list[str]:
        return [
            email
            for writer in self.writers
            if isinstance(writer, MailedWriter)
            for email in writer.emails
        ]


class Follower(threading.Thread):
    """Follows the change feed as a client does: when its instance stops, it resumes at the next one with
    the last cursor."""

    def __init__(self, service: Service, first: int) -> None:
        super().__init__(daemon=True)
        # Customer number and id of every event.
        self.seen: list[tuple[str, str]] = []
        self.failure: str | None = None
        self.resumed = 0
        self._cursor = ""
        self._turn = first
        self._is_stopped = threading.Event()
        self._service = service
        self._stream: Any = None

    def run(self) -> None:
        while not self._is_stopped.is_set():
            try:
                self._follow(self._service.addresses[self._turn % len(self._service.addresses)])
            except grpc.RpcError as error:
                if self._is_stopped.is_set():
                    return
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    self.failure = f"the stream failed: {error.code().name} {error.details()}"
                    return
            self._turn += 1
            self.resumed += 1
            time.sleep(AGAIN_AFTER)

    def _follow(self, address: str) -> None:
        with grpc.insecure_channel(address, CHANNEL_OPTIONS) as channel:
            stub = contact_service_pb2_grpc.ContactServiceStub(channel)
            metadata = [("authorization", f"Bearer {self._service.token}")]
            request = audit_pb2.WatchChangesRequest(cursor=self._cursor)
            self._stream = stub.WatchChanges(request, metadata=metadata)
            for answer in self._stream:
                self.seen += [(event.customer_number, event.event_id) for event in answer.events]
                self._cursor = answer.cursor

    def stop(self) -> None:
        self._is_stopped.set()
        if self._stream:
            self._stream.cancel()
        self.join(10)
