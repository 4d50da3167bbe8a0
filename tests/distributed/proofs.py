"""The proofs of a running cluster. Each has a database and two instances of its own."""

from __future__ import annotations

import math
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from failover.checks import check
from failover.load import Load
from failover.rounds import expect_writes
from failover.service import Service
from support.contacts import Contacts
from support.polling import until
from support.sink import Sink

from .cluster import Cluster, Database
from .instances import instances, nodes_of_instances
from .load import PinnedLoad
from .result import Result, check_all
from .watcher import Watcher, committed_events, compare_events, wait_for_events

EVENTS, MAILS, MOVES = 5_000, 1_000, 10
# Below the limit of confirmation mails that a customer causes in an hour.
MAILS_PER_CUSTOMER = 20
CLIENTS = 8
TIMEOUT_SECONDS = 900.0
# Time without a mail after which no further copy is expected; workers poll more often.
SILENCE_SECONDS = 10.0
UNDISTURBED_SECONDS = 1.0


def prove_feed(cluster: Cluster, folder: Path, scale: float) -> Result:
    """Two watchers see every event of two instances once, with a delayed worker."""
    wanted = math.ceil(EVENTS * scale)
    database = cluster.create_database("contacts_feed", delayed=cluster.workers[0])
    with instances(database, folder) as service:
        watchers = [Watcher(service, address) for address in service.addresses]
        for watcher in watchers:
            watcher.start()
        load = Load(service, "F")
        load.start()
        try:
            until(lambda: load.acknowledged() >= wanted, "the writes", TIMEOUT_SECONDS, 0.2)
        finally:
            load.stop()
        verdict = check(database.connect, service, load)
        database.wait_for_feed()
        expected = committed_events(database)
        wait_for_events(watchers, len(expected))
        for watcher in watchers:
            watcher.stop()
    wrong = verdict.wrong + [watcher.failure for watcher in watchers if watcher.failure]
    texts = []
    for name, watcher in zip(("first watcher", "second watcher"), watchers):
        text, differences = compare_events(name, expected, watcher.seen)
        texts.append(text)
        wrong += differences
    return Result(f"{len(expected):,} events, {verdict.writes()}; {'; '.join(texts)}", wrong)


def prove_mails(cluster: Cluster, folder: Path, scale: float) -> Result:
    """Two instances send every confirmation mail once, with a delayed worker."""
    customers = math.ceil(MAILS * scale / MAILS_PER_CUSTOMER)
    database = cluster.create_database("contacts_mails", delayed=cluster.workers[0])
    folder.mkdir()
    with Sink(folder, 2) as sink:
        with instances(database, folder / "instances", sink.smtp_urls) as service:
            addresses = create_pending_addresses(service, customers)
            try:
                sink.wait_for(len(addresses), TIMEOUT_SECONDS)
            except AssertionError:
                pass  # The comparison says more.
            wait_for_silence(sink)
            left = database.count("outbox_mails")
        accepted = Counter(note.recipient for note in sink.accepted())
        ports = Counter(note.port_number for note in sink.accepted())
    lost = [address for address in addresses if address not in accepted]
    twice = [address for address, count in accepted.items() if count > 1]
    wrong = [f"no mail to {address}" for address in lost[:5]]
    wrong += [f"{accepted[address]} mails to {address}" for address in twice[:5]]
    wrong += [f"an unexpected mail to {address}" for address in accepted.keys() - addresses]
    if left:
        wrong.append(f"{left} mails are left in the outbox")
    shares = " and ".join(f"{ports[n]:,}" for n in range(2))
    return Result(
        f"{len(addresses):,} mails, {len(lost)} lost, {len(twice)} twice; {shares} by the instances",
        wrong,
    )


def create_pending_addresses(service: Service, customers: int) -> set[str]:
    """Creates contacts with pending addresses through all instances; returns the addresses."""
    clients = [Contacts(address, service.token) for address in service.addresses]

    def create(number: int) -> list[str]:
        client = clients[number % len(clients)]
        customer = client.create_customer()
        names = [f"m-{number}-{n}@muster.example" for n in range(MAILS_PER_CUSTOMER)]
        for name in names:
            client.create_contact(customer, email=name)
        return names

    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            return {name for names in pool.map(create, range(customers)) for name in names}
    finally:
        for client in clients:
            client.close()


def wait_for_silence(sink: Sink) -> None:
    """Waits until no mail has arrived for a while: a second copy may come late."""
    before = -1
    while len(sink.accepted()) != before:
        before = len(sink.accepted())
        time.sleep(SILENCE_SECONDS)


def prove_moves(cluster: Cluster, folder: Path, scale: float) -> Result:
    """Shards move to another worker under writes, without an error."""
    database = cluster.create_database("contacts_moves")
    seconds: list[float] = []
    with instances(database, folder) as service:
        load = PinnedLoad(database, nodes_of_instances(database), service, "M")
        load.start()
        try:
            expect_writes(load)
            for _ in range(math.ceil(MOVES * scale)):
                time.sleep(UNDISTURBED_SECONDS)
                seconds.append(move_busiest_shard(database))
                load.expect_alive()
        finally:
            load.stop()
        verdict = check_all(database, service, load)
    errors = verdict.statuses.total()
    # Every status is wrong here, also the one that a failed node causes.
    wrong = verdict.wrong + [f"{load.statuses.first[name]}: {name}" for name in verdict.statuses]
    return Result(
        f"{len(seconds)} shard moves, the longest {max(seconds):.1f} s; {verdict.writes()};"
        f" {verdict.reads:,} reads; {errors} errors; longest write {load.longest_write():.2f} s",
        wrong,
    )


def move_busiest_shard(database: Database) -> float:
    """Moves the shard with the most contacts, with all that is colocated; returns the duration."""
    with database.connect() as connection:
        row = connection.execute(
            "SELECT s.shardid, s.nodename, s.nodeport FROM pg_dist_shard_placement AS s"
            " JOIN citus_shards AS c ON c.shardid = s.shardid"
            " WHERE c.table_name = 'contacts'::regclass ORDER BY c.shard_size DESC, random() LIMIT 1"
        ).fetchone()
        assert row, "the contacts have no shards"
        shard, *source = row
        target = next(w.address for w in database.cluster.workers if w.address != tuple(source))
        start = time.monotonic()
        connection.execute(
            "SELECT citus_move_shard_placement(%s, %s, %s, %s, %s, shard_transfer_mode => 'auto')",
            [shard, *source, *target],
        )
    return time.monotonic() - start
