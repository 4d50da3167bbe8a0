"""Abuses HTTP/2 in one way after another, each for 30 s, while a good client sends requests.

The client's p99 is compared with its own before and after the abuse, and the server's memory with
that before it. Abuses without a token are possible for everyone, the others for clients with a valid
token. In a flood of connections, new clients are served too.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from contact.v1 import contact_pb2, contact_service_pb2_grpc, customer_pb2
from support import report
from support.contacts import Contacts
from support.database import Database
from support.memory import MemoryWatch

from support.network.abuses import (
    Abuse,
    ContinuationFlood,
    Count,
    EmptyData,
    Idle,
    LARGE_CUSTOMER,
    MalformedHeaders,
    OpenRpcs,
    PingFlood,
    RapidReset,
    RapidResetOfRequests,
    RapidResetOfShortRequests,
    SettingsFlood,
    Silence,
    SlowHeaders,
    Target,
    UnfinishedRequests,
    Unread,
    UnreadRejections,
    attack,
)
from support.network.connection_flood import Flood, flood
from support.network.instance import Instance
from support.network.spawned import Spawned

SECONDS = float(os.environ.get("NETWORK_SECONDS", "30"))
SECONDS_ALONE = SECONDS / 3
# Duration of the abuse before the good client is measured.
LEAD_SECONDS = 1
REQUESTS_PER_SECOND = 250
CUSTOMERS = 1_000
SEED = 1
MAX_CONTACTS = 100
SCOPES = "recipients.resolve contacts.read changes.watch"
MAX_P99_RATIO = 2.0
MAX_MIB = 64.0

ABUSES: dict[str, Abuse] = {
    "rapid reset": RapidReset(),
    "rapid reset of good requests": RapidResetOfRequests(resets_per_chunk=10),
    "rapid reset of short requests": RapidResetOfShortRequests(resets_per_chunk=100),
    "rapid reset on brief connections": RapidResetOfRequests(resets_per_chunk=25, is_brief=True),
    "CONTINUATION flood": ContinuationFlood(),
    "empty DATA frames": EmptyData(),
    "malformed HEADERS": MalformedHeaders(),
    "connections without a preface": Silence(connections=2_000),
    "slow headers": SlowHeaders(connections=500, pause_seconds=0.5),
    "PING flood": PingFlood(),
    "SETTINGS flood": SettingsFlood(),
    "streams with a window of zero": Unread(connections=20, pause_seconds=0.02),
    "watches with a window of zero": Unread(20, 0.02, rpc="WatchChanges"),
    "watches with a window of one byte": Unread(20, 0.02, rpc="WatchChanges", window=1),
    "lists with a window of zero": Unread(12, 0.02, rpc="ListContacts"),
    "lists with a window of one byte": Unread(12, 0.02, rpc="ListContacts", window=1),
    "lists that stay in the socket": Unread(
        12, 0.02, reads=False, rpc="ListContacts", window=(1 << 31) - 1
    ),
    "rejections that stay in the socket": UnreadRejections(connections=20, reads=False),
    "requests that never send their message": UnfinishedRequests(connections=20, pause_seconds=1),
    "watches of health": OpenRpcs(connections=60, pause_seconds=0.02),
    "streams of reflection": OpenRpcs(
        60, 0.02, path="/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    ),
    "idle connections": Idle(connections=1_100, pause_seconds=1),
}
FLOOD_CONNECTIONS = 4_000
NEW_CLIENT_PAUSE_SECONDS = 0.1
OWN_CONNECTION = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
NEW_CLIENT_SECONDS = 5.0
# Few, as many systems give a process.
DESCRIPTORS = 1_024


@dataclass(frozen=True)
class ClientFigures:
    """The good client's requests."""

    p99_ms: float
    failed: int
    first_error: str


@pytest.fixture
def service(tmp_path: Path, database: Database) -> Iterator[Instance]:
    # As in production; a log line per request would dominate the measurement.
    with Instance(tmp_path, database, RUST_LOG="warn") as service:
        run("NETWORK_GENERATE", customers=CUSTOMERS, seed=SEED, database_url=database.url)
        fill(service.start(descriptors=DESCRIPTORS))
        yield service
        service.stop()


@pytest.mark.parametrize("name", ABUSES)
def test_good_clients_are_served_under(name: str, service: Instance):
    token, *others = (mint(service, subject) for subject in ("good", "attacker", "accomplice"))
    abuse = ABUSES[name]
    abuse.target = Target(service.grpc_address, tuple(others))
    before = measure(service, token, SECONDS_ALONE)
    with MemoryWatch(service.pid) as memory:
        time.sleep(LEAD_SECONDS)
        held_before = memory.samples[-1].resident_mib
        with Spawned(attack, abuse, Count()) as attacker:
            time.sleep(LEAD_SECONDS)
            during = measure(service, token, SECONDS)
    after = measure(service, token, SECONDS_ALONE)
    alone_ms = statistics.mean([before.p99_ms, after.p99_ms])
    more_mib = max(sample.resident_mib for sample in memory.samples) - held_before
    add_to_report(name, attacker.result, during, alone_ms, more_mib)

    assert attacker.result.connections, "nothing was done to the server"
    assert before.failed == after.failed == 0
    assert during.failed == 0, f"{during.failed} requests failed, the first with {during.first_error}"
    assert more_mib <= MAX_MIB
    assert during.p99_ms <= MAX_P99_RATIO * alone_ms


def test_new_clients_are_served_in_a_flood_of_connections(service: Instance):
    token = mint(service, "good")
    seconds: list[float] = []
    with Spawned(flood, Flood(service.grpc_address, FLOOD_CONNECTIONS), 0) as attacker:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            seconds.append(list_contacts_as_new_client(service, token))
            time.sleep(NEW_CLIENT_PAUSE_SECONDS)
    report.add(
        "new clients in a flood of connections",
        thrown_out=attacker.result,
        new_clients=len(seconds),
        median=f"{statistics.median(seconds):.3f} s",
        slowest=f"{max(seconds):.3f} s",
    )

    assert attacker.result > FLOOD_CONNECTIONS, "this was no flood"


def list_contacts_as_new_client(service: Instance, token: str) -> float:
    """Returns the duration of connection and request, which may not fail."""
    start = time.monotonic()
    with grpc.insecure_channel(service.grpc_address, OWN_CONNECTION) as channel:
        contact_service_pb2_grpc.ContactServiceStub(channel).ListContacts(
            contact_pb2.ListContactsRequest(customer_number=LARGE_CUSTOMER, page_size=1),
            metadata=[("authorization", f"Bearer {token}")],
            timeout=NEW_CLIENT_SECONDS,
        )
    return time.monotonic() - start


def mint(service: Instance, subject: str) -> str:
    return service.run("token", "--sub", subject, "--scope", SCOPES, "--ttl", "1h")


def fill(contacts: Contacts) -> None:
    """Creates one customer with the maximum number of contacts, each of them an event of the feed.
    """
    customer = customer_pb2.Customer(customer_number=LARGE_CUSTOMER)
    contacts.call(
        "UpdateCustomer", customer_pb2.UpdateCustomerRequest(customer=customer, allow_missing=True)
    )
    for number in range(MAX_CONTACTS):
        name = f"{number:03} {'x' * 190}"
        contacts.create_contact(LARGE_CUSTOMER, name=name)


def measure(service: Instance, token: str, seconds: float) -> ClientFigures:
    """Resolves recipients at a steady rate; latency counts from the scheduled time."""
    output = run(
        "NETWORK_LOAD",
        address=service.grpc_address,
        token=token,
        rpc="resolve",
        customers=CUSTOMERS,
        seed=SEED,
        rate=REQUESTS_PER_SECOND,
        seconds=seconds,
    )
    figures = json.loads(output.splitlines()[-1])
    return ClientFigures(figures["p99_us"] / 1000, figures["failed"], figures["first_error"] or "")


def run(variable: str, **options: object) -> str:
    """Runs one of the tools that scripts/network built."""
    program = os.environ.get(variable)
    assert program, f"{variable} is not set: run scripts/network"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    ended = subprocess.run(
        [program, *flags], capture_output=True, text=True, timeout=SECONDS + 60, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout.strip()


def add_to_report(
    name: str,
    count: Count,
    during: ClientFigures,
    alone_ms: float,
    more_mib: float,
) -> None:
    report.add(
        f"abuses, {SECONDS:g} s each",
        abuse=name,
        connections=count.connections,
        thrown_out=count.thrown_out,
        sent=f"{count.sent_bytes / 2**20:.1f} MiB",
        failed=during.failed,
        p99_alone=f"{alone_ms:.2f} ms",
        p99_during=f"{during.p99_ms:.2f} ms",
        times=f"{during.p99_ms / alone_ms:.2f}",
        memory=f"{more_mib:+.1f} MiB",
    )
