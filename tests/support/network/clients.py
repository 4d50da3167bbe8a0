"""Clients that send requests at a steady rate, regardless of the state of the instances."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event

import grpc
from contact.v1 import contact_pb2, contact_service_pb2_grpc, customer_pb2, recipients_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from . import service_config

DEADLINE_SECONDS = 10
# As the service config does it for reads.
PAUSE_BEFORE_RETRY_SECONDS = 0.05


@dataclass
class RequestCounts:
    """The results of the requests."""

    requests: int = 0
    writes: int = 0
    written_again: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    first_failures: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0
    # Maximum delay of a request's start, which shows that the load itself was late.
    latest_seconds: float = 0.0
    # Acknowledged writes.
    acknowledged: int = 0

    @property
    def failed(self) -> int:
        return self.failures.total()

    def note_failure(self, rpc: str, error: grpc.RpcError, seconds: float) -> None:
        self.failures[error.code().name] += 1
        if len(self.first_failures) < 20:
            output = f"{rpc} after {seconds:.3f} s: {error.code().name}: {error.details()}"
            self.first_failures.append(output)


@dataclass(frozen=True)
class Load:
    """The requests to send, their target and their rate."""

    addresses: list[str]
    token: str
    # Customer number and contact id.
    contacts: list[tuple[str, str]]
    requests_per_second: int


def send_requests(load: Load, stop: Event) -> RequestCounts:
    """Sends requests to all instances through one channel; every tenth is a write."""
    requests = Requests(load)
    asyncio.run(requests.run(stop))
    return requests.outcome


class Requests:
    """The requests themselves, started on schedule."""

    def __init__(self, load: Load) -> None:
        self.outcome = RequestCounts()
        self._load = load
        self._metadata = [("authorization", f"Bearer {load.token}")]
        self._contacts = itertools.cycle(load.contacts)

    async def run(self, stop: Event) -> None:
        # A list of two addresses has no host name, unlike a DNS name.
        authority = ("grpc.default_authority", "contacts")
        options = [*service_config.channel_options(), authority]
        target = "ipv4:" + ",".join(self._load.addresses)
        async with grpc.aio.insecure_channel(target, options) as channel:
            stub = contact_service_pb2_grpc.ContactServiceStub(channel)
            await asyncio.wait_for(channel.channel_ready(), DEADLINE_SECONDS)
            tasks: set[asyncio.Task[None]] = set()
            start = time.monotonic()
            for number in itertools.count():
                due = start + number / self._load.requests_per_second
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if stop.is_set():
                    break
                delay = time.monotonic() - due
                self.outcome.latest_seconds = max(self.outcome.latest_seconds, delay)
                task = asyncio.create_task(self._request(stub, number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)

    async def _request(self, stub: contact_service_pb2_grpc.ContactServiceStub, number: int) -> None:
        customer_number, contact_id = next(self._contacts)
        if number % 10 == 0:
            await self._write(stub, customer_number, contact_id)
        elif number % 2:
            request = customer_pb2.GetCustomerRequest(customer_number=customer_number)
            await self._counted("GetCustomer", lambda: self._send(stub.GetCustomer, request))
        else:
            query = recipients_pb2.ResolveRecipientsRequest(
                customer_number=customer_number, purpose=recipients_pb2.PURPOSE_GENERAL
            )
            await self._counted(
                "ResolveRecipients", lambda: self._send(stub.ResolveRecipients, query)
            )

    async def _write(
        self,
        stub: contact_service_pb2_grpc.ContactServiceStub,
        customer_number: str,
        contact_id: str,
    ) -> None:
        """Renames a contact. The client retries a write under the same request id."""
        request = contact_pb2.UpdateContactRequest(
            contact=contact_pb2.Contact(
                customer_number=customer_number,
                contact_id=contact_id,
                display_name=uuid.uuid4().hex,
            ),
            update_mask=FieldMask(paths=["display_name"]),
            request_id=str(uuid.uuid4()),
        )

        async def with_one_retry() -> None:
            try:
                await self._send(stub.UpdateContact, request)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                self.outcome.written_again += 1
                await asyncio.sleep(PAUSE_BEFORE_RETRY_SECONDS)
                await self._send(stub.UpdateContact, request)

        self.outcome.writes += 1
        if await self._counted("UpdateContact", with_one_retry):
            self.outcome.acknowledged += 1

    async def _send(self, method: Callable[..., Awaitable[object]], request: object) -> None:
        await method(request, timeout=DEADLINE_SECONDS, metadata=self._metadata)

    async def _counted(self, rpc: str, send: Callable[[], Awaitable[None]]) -> bool:
        start = time.monotonic()
        self.outcome.requests += 1
        try:
            await send()
        except grpc.RpcError as error:
            self.outcome.note_failure(rpc, error, time.monotonic() - start)
            return False
        finally:
            took = time.monotonic() - start
            self.outcome.slowest_seconds = max(self.outcome.slowest_seconds, took)
        return True
