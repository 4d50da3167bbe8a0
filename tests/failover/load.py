"""Clients that write and read continuously and record every acknowledged write."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc
from contact.v1 import contact_pb2, contact_service_pb2_grpc, customer_pb2
from google.protobuf import field_mask_pb2
from google.rpc import error_details_pb2, status_pb2

from support.processes import Failed

from .service import CHANNEL_OPTIONS, Service

WRITERS, READERS = 6, 2
# Longer than the service's own deadline, so that the service responds first.
REQUEST_SECONDS = 10.0
# A write is retried until it is acknowledged, up to this limit.
TIMEOUT_SECONDS = 120.0
AGAIN_AFTER = 0.05
# The load is no benchmark: half of the machine is for the cluster.
PAUSE_SECONDS = 0.005
CONTACTS_PER_CUSTOMER = 50
CREATED = 0.2
# A retry would get the same error: an acknowledged write is lost.
FINAL = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)
MASK = field_mask_pb2.FieldMask(paths=["display_name"])


class Rejected(Exception):
    """A write that can no longer be acknowledged."""


@dataclass
class Written:
    """A contact as its last acknowledged write left it."""

    customer_number: str
    contact_id: str
    # The permanent prefix of its name, by which a duplicate contact is found.
    mark: str
    updates: int = 0

    @property
    def name(self) -> str:
        return f"{self.mark}/{self.updates}"


@dataclass
class Statuses:
    """The statuses of failed requests."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, error: grpc.RpcError) -> None:
        name = f"{error.code().name} {reason_of(error)}".strip()
        with self._lock:
            self.counts[name] += 1
            moment = time.strftime("%H:%M:%S")
            self.first.setdefault(name, f"{moment} {error.details()}")


class ClientThread:
    """A thread with its own connection to one instance."""

    def __init__(self, service: Service, number: int, statuses: Statuses, stop: threading.Event):
        address = service.addresses[number % len(service.addresses)]
        self.channel = grpc.insecure_channel(address, CHANNEL_OPTIONS)
        self._stub = contact_service_pb2_grpc.ContactServiceStub(self.channel)
        self._metadata = [("authorization", f"Bearer {service.token}")]
        self._statuses = statuses
        self._stop = stop
        self._random = Random(number)
        self.failed = 0
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(TIMEOUT_SECONDS + 10)
        self.channel.close()
        if self.failure or self._thread.is_alive():
            raise Failed(self.failure or "a caller hangs")

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.step()
                time.sleep(PAUSE_SECONDS)
        except Exception as error:  # join reports a thread's failure
            self.failure = f"{type(error).__name__}: {error}"

    def step(self) -> None:
        raise NotImplementedError

    def request(self, rpc: str, request: Any) -> Any:
        """Sends a request once; counts a failure."""
        try:
            return getattr(self._stub, rpc)(request, timeout=REQUEST_SECONDS, metadata=self._metadata)
        except grpc.RpcError as error:
            self.failed += 1
            self._statuses.add(error)
            raise


class Writer(ClientThread):
    """Creates and renames contacts, retrying each write until it is acknowledged."""

    def __init__(self, run: str, number: int, *args: Any) -> None:
        super().__init__(*args)
        self._prefix = f"{run}-{number}"
        self._customer = ""
        self._customers = 0
        self.contacts: list[Written] = []
        # Begin and end of the acknowledged requests.
        self.acknowledged: list[tuple[float, float]] = []

    def step(self) -> None:
        try:
            if len(self.contacts) >= self._customers * CONTACTS_PER_CUSTOMER:
                self._make_customer()
            elif not self.contacts or self._random.random() < CREATED:
                self._make_contact()
            else:
                self._rename(self._random.choice(self.contacts))
        except Rejected:
            # It is counted here, and found missing at the end.
            time.sleep(AGAIN_AFTER)

    def next_number(self) -> str:
        """Returns the number of the next customer."""
        return f"{self._prefix}-{self._customers}"

    def next_email(self) -> str:
        """Returns the address of the next contact; empty for none."""
        return ""

    def _make_customer(self) -> None:
        number = self.next_number()
        customer = customer_pb2.Customer(customer_number=number)
        request = customer_pb2.UpdateCustomerRequest(customer=customer, allow_missing=True)
        self._until_acknowledged("UpdateCustomer", request)
        self._customer = number
        self._customers += 1

    def _make_contact(self) -> None:
        mark = f"{self._prefix}-{len(self.contacts):05d}"
        contact = contact_pb2.Contact(
            display_name=f"{mark}/0", locale="de", types=[contact_pb2.CONTACT_TYPE_STANDARD]
        )
        request = contact_pb2.CreateContactRequest(
            customer_number=self._customer,
            contact=contact,
            email=self.next_email(),
            request_id=str(uuid.uuid4()),
        )
        made = self._until_acknowledged("CreateContact", request).contact
        self.contacts.append(Written(self._customer, made.contact_id, mark))

    def _rename(self, written: Written) -> None:
        contact = contact_pb2.Contact(
            customer_number=written.customer_number,
            contact_id=written.contact_id,
            display_name=f"{written.mark}/{written.updates + 1}",
        )
        request = contact_pb2.UpdateContactRequest(
            contact=contact, update_mask=MASK, request_id=str(uuid.uuid4())
        )
        self._until_acknowledged("UpdateContact", request)
        written.updates += 1

    def _until_acknowledged(self, rpc: str, request: Any) -> Any:
        """Repeats a request with the same request id until it succeeds."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            start = time.monotonic()
            try:
                answer = self.request(rpc, request)
            except grpc.RpcError as error:
                if error.code() in FINAL:
                    raise Rejected from error
                if time.monotonic() > deadline:
                    raise Failed(f"{rpc} was not acknowledged in {TIMEOUT_SECONDS:g} s: {error}") from None
                time.sleep(AGAIN_AFTER)
            else:
                self.acknowledged.append((start, time.monotonic()))
                return answer


class Reader(ClientThread):
    """Reads existing contacts, and checks for writes that were acknowledged before."""

    def __init__(self, writers: Sequence[Writer], *args: Any) -> None:
        super().__init__(*args)
        self._writers = writers
        self.reads = 0
        self.stale: list[str] = []

    def step(self) -> None:
        contacts = self._random.choice(self._writers).contacts
        if not contacts:
            return
        written = self._random.choice(contacts)
        acknowledged = written.updates
        request = contact_pb2.GetContactRequest(
            customer_number=written.customer_number, contact_id=written.contact_id
        )
        try:
            name = self.request("GetContact", request).contact.display_name
        except grpc.RpcError:
            time.sleep(AGAIN_AFTER)
            return
        self.reads += 1
        if int(name.rpartition("/")[2]) < acknowledged:
            self.stale.append(f"{written.mark} was {name} when /{acknowledged} was acknowledged")


class Load:
    """All clients of one run, from their start until the last write is acknowledged."""

    def __init__(self, service: Service, run: str) -> None:
        self.run = run
        self.statuses, self._stop = Statuses(), threading.Event()
        self.writers, self.readers = self.make_clients(service, self.statuses, self._stop)

    def make_clients(
        self, service: Service, *parts: Any
    ) -> tuple[Sequence[Writer], Sequence[Reader]]:
        """Returns clients that are distributed over all instances."""
        writers = [Writer(self.run, n, service, n, *parts) for n in range(WRITERS)]
        return writers, [Reader(writers, service, WRITERS + n, *parts) for n in range(READERS)]

    def start(self) -> None:
        for caller in (*self.writers, *self.readers):
            caller.start()

    def stop(self) -> None:
        self._stop.set()
        for caller in (*self.writers, *self.readers):
            caller.join()

    def acknowledged(self) -> int:
        return sum(len(writer.acknowledged) for writer in self.writers)

    def contacts(self) -> list[Written]:
        return [contact for writer in self.writers for contact in writer.contacts]

    def first_since(self, moment: float, of_all: Callable[[list[float]], float]) -> float | None:
        """Returns when the first writer, or the last one, got an acknowledgement after a moment."""
        firsts: list[float] = []
        for writer in self.writers:
            later = [ended for _, ended in tuple(writer.acknowledged[-2000:]) if ended > moment]
            firsts += later[:1]
        if not firsts or (of_all is max and len(firsts) < len(self.writers)):
            return None
        return of_all(firsts)

    def expect_alive(self) -> None:
        for caller in (*self.writers, *self.readers):
            if caller.failure:
                raise Failed(caller.failure)


def reason_of(error: grpc.RpcError) -> str:
    """Returns the reason in the error's ErrorInfo, if it has one."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return str(info.reason)
    return ""
