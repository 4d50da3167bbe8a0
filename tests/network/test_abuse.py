"""HTTP/2 is abused for 30 s in one way after another, while a good client calls at a steady rate.

Its p99 is held against its own before and after the abuse, and the server's memory against what it
held before. Abuses without a token can come from anybody, the others from somebody who is let in.
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

import pytest
from contact.v1 import customer_pb2
from harness import report
from harness.contacts import Contacts
from harness.database import Database
from measure.processes import MemoryWatch

from support.abuses import (
    Abuse,
    Attack,
    ContinuationFlood,
    Count,
    EmptyData,
    Idle,
    LARGE_CUSTOMER,
    MalformedHeaders,
    OpenRpcs,
    PingFlood,
    RapidReset,
    RapidResetOfCalls,
    SettingsFlood,
    Silence,
    SlowHeaders,
    Target,
    UnfinishedCalls,
    Unread,
    UnreadRejections,
)
from support.replica import Replica

SECONDS = float(os.environ.get("NETWORK_SECONDS", "30"))
SECONDS_ALONE = SECONDS / 3
# How long it goes on before the good client is measured beside it.
LEAD_SECONDS = 1
CALLS_A_SECOND = 250
CUSTOMERS = 1_000
SEED = 1
MOST_CONTACTS = 100
SCOPES = "recipients.resolve contacts.read changes.watch"
MOST_TIMES_P99 = 2.0
MOST_MIB = 64.0

ABUSES: dict[str, Abuse] = {
    "rapid reset": RapidReset(),
    "rapid reset of good calls": RapidResetOfCalls(),
    "CONTINUATION flood": ContinuationFlood(),
    "empty DATA frames": EmptyData(),
    "malformed HEADERS": MalformedHeaders(),
    "connections that never greet": Silence(connections=2_000),
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
    "calls that never send their message": UnfinishedCalls(connections=20, pause_seconds=1),
    "watches of health": OpenRpcs(connections=60, pause_seconds=0.02),
    "streams of reflection": OpenRpcs(
        60, 0.02, path="/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    ),
    "idle connections": Idle(connections=1_100, pause_seconds=1),
}
# Few, as many systems give a process.
DESCRIPTORS = 1_024


@dataclass(frozen=True)
class Calls:
    """What the good client met."""

    p99_ms: float
    failed: int
    first_error: str


@pytest.fixture
def service(tmp_path: Path, database: Database) -> Iterator[Replica]:
    # As in operation: a line a call would be what is measured.
    with Replica(tmp_path, database, RUST_LOG="warn") as service:
        run("NETWORK_GENERATE", customers=CUSTOMERS, seed=SEED, database_url=database.url)
        fill(service.start(descriptors=DESCRIPTORS))
        yield service
        service.stop()


@pytest.mark.parametrize("name", ABUSES)
def test_good_callers_are_served_under(name: str, service: Replica):
    token, *others = (mint(service, subject) for subject in ("good", "attacker", "accomplice"))
    abuse = ABUSES[name]
    abuse.target = Target(service.grpc_address, tuple(others))
    before = call(service, token, SECONDS_ALONE)
    with MemoryWatch(service.pid) as memory:
        time.sleep(LEAD_SECONDS)
        held_before = memory.samples[-1].resident_mib
        with Attack(abuse) as attack:
            time.sleep(LEAD_SECONDS)
            beside = call(service, token, SECONDS)
    after = call(service, token, SECONDS_ALONE)
    alone_ms = statistics.mean([before.p99_ms, after.p99_ms])
    more_mib = max(sample.resident_mib for sample in memory.samples) - held_before
    tell(name, attack.count, beside, alone_ms, more_mib)

    assert attack.count.connections, "nothing was done to the server"
    assert before.failed == after.failed == 0
    assert beside.failed == 0, f"{beside.failed} calls failed, the first with {beside.first_error}"
    assert more_mib <= MOST_MIB
    assert beside.p99_ms <= MOST_TIMES_P99 * alone_ms


def mint(service: Replica, subject: str) -> str:
    return service.run("token", "--sub", subject, "--scope", SCOPES, "--ttl", "1h")


def fill(contacts: Contacts) -> None:
    """One customer with as many contacts as there may be, each of them an event of the feed."""
    customer = customer_pb2.Customer(customer_number=LARGE_CUSTOMER)
    contacts.call(
        "UpdateCustomer", customer_pb2.UpdateCustomerRequest(customer=customer, allow_missing=True)
    )
    for number in range(MOST_CONTACTS):
        name = f"{number:03} {'x' * 190}"
        contacts.create_contact(LARGE_CUSTOMER, name=name)


def call(service: Replica, token: str, seconds: float) -> Calls:
    """Resolves recipients at a steady rate; the time of a call counts from when it was due."""
    told = run(
        "NETWORK_LOAD",
        address=service.grpc_address,
        token=token,
        call="resolve",
        customers=CUSTOMERS,
        seed=SEED,
        rate=CALLS_A_SECOND,
        seconds=seconds,
    )
    figures = json.loads(told.splitlines()[-1])
    return Calls(figures["p99_us"] / 1000, figures["failed"], figures["first_error"] or "")


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


def tell(name: str, count: Count, beside: Calls, alone_ms: float, more_mib: float) -> None:
    report.add(
        f"abuses, {SECONDS:g} s each",
        abuse=name,
        connections=count.connections,
        thrown_out=count.thrown_out,
        sent=f"{count.sent_bytes / 2**20:.1f} MiB",
        failed=beside.failed,
        p99_alone=f"{alone_ms:.2f} ms",
        p99_beside=f"{beside.p99_ms:.2f} ms",
        times=f"{beside.p99_ms / alone_ms:.2f}",
        memory=f"{more_mib:+.1f} MiB",
    )
