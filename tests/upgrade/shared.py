"""The rollout on a shared database: one by one to the new version, back, and forward again."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psycopg

from distributed.cluster import FAST_SETTINGS, LocalNode
from distributed.instances import SCOPES
from distributed.story import DeferringMailbox, Story, missing_calls
from distributed.watcher import committed_events, compare_events, wait_for_events
from failover.checks import check, shown
from failover.processes import Account
from failover.service import Service
from support.contacts import Contacts
from support.mailbox import Mailbox
from support.polling import until
from support.processes import Failed

from .exchange import Exchange
from .load import Follower, Stop, UpgradeLoad
from .older_contract import OlderContract

INSTANCES = 2
# Of all writers, between two steps.
WRITES, CHECKS = 100, 10
STEP_SECONDS = 60.0
# A release of the future: this version and the previous one find it in the schema.
LATER_MIGRATION = "m29990101_000001_later"
# The kinds of events that are in the audit log only (docs/reference/events.md).
DISCLOSURES = r"\.(channel_|found|not_found|access_denied)"
# As migrations wait for a lock: other statements queue for no longer than this.
LOCK_TIMEOUT = "500ms"


@dataclass(frozen=True)
class Versions:
    """The binaries, and the older contracts whose clients are played."""

    previous: Path
    current: Path
    contracts: dict[str, OlderContract]
    # RPCs of this contract that the previous version lacks; None if its contract is unknown.
    added_rpcs: set[str] = field(default_factory=set)


class Database:
    """A private PostgreSQL with one database."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        account = Account()
        account.own(folder)
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        fast = {name: FAST_SETTINGS[name] for name in ("fsync", "synchronous_commit")}
        self._node = LocalNode("postgres", folder, binaries, settings | fast, account)
        self._node.create()
        self._node.start()
        self.url = self._node.url()
        self.stop = self._node.stop

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return self._node.connect()

    def execute(self, sql: str) -> list[tuple[object, ...]]:
        with self.connect() as connection:
            cursor = connection.execute(sql)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def feed_events(self) -> list[tuple[str, str]]:
        """Returns the events that belong in the feed: all but disclosures."""
        rows = self.execute(f"SELECT event_id::text FROM audit_events WHERE kind ~ '{DISCLOSURES}'")
        disclosures = {str(row[0]) for row in rows}
        return [event for event in committed_events(self) if event[1] not in disclosures]

    def wait_for_feed(self) -> None:
        """Waits until all events are sequenced."""
        until(
            lambda: not self.execute("SELECT 1 FROM feed_inbox LIMIT 1"),
            "the feed to sequence all events",
        )

    def add_columns(self) -> int:
        """Adds columns to every table, as later migrations may, while instances use them; returns the
        number of tables."""
        tables = self.execute(
            "SELECT relname::text FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = current_schema()::regnamespace ORDER BY 1"
        )
        for (table,) in tables:
            until(lambda name=table: self._add_columns(str(name)), "a table's lock", STEP_SECONDS)
        self.execute("CREATE TABLE later_things (id bigint PRIMARY KEY)")
        return len(tables)

    def _add_columns(self, table: str) -> bool:
        try:
            self.execute(
                f"SET lock_timeout = '{LOCK_TIMEOUT}'; ALTER TABLE {table}"
                " ADD COLUMN later_note text, ADD COLUMN later_count bigint NOT NULL DEFAULT 7"
            )
        except psycopg.errors.LockNotAvailable:
            return False
        return True


class Rollout:
    """Two instances under load, and the checks between two steps."""

    def __init__(
        self, service: Service, database: Database, mailbox: Mailbox, versions: Versions
    ) -> None:
        self.service, self.database, self.versions = service, database, versions
        self._mailbox = mailbox
        self.load = UpgradeLoad(service, "U")
        self.followers = [Follower(service, first) for first in range(INSTANCES)]
        self.stops: list[Stop] = []
        self.exchanged: list[str] = []
        self.stories = self.older_clients = 0

    def begin(self) -> None:
        self.load.start()
        for follower in self.followers:
            follower.start()
        self.wait_for_writes()

    def end(self) -> None:
        self.load.stop()
        self.database.wait_for_feed()
        wait_for_events(self.followers, len(self.database.feed_events()))
        for follower in self.followers:
            follower.stop()

    def wait_for_writes(self) -> None:
        """Waits until the load, and each of its writers, got more responses."""
        before = time.monotonic()
        enough, checks = self.load.acknowledged() + WRITES, self.load.checks() + CHECKS

        def is_enough() -> bool:
            self.load.expect_alive()
            for follower in self.followers:
                if follower.failure:
                    raise Failed(follower.failure)
            is_each = self.load.first_since(before, max) is not None
            is_checked = self.load.checks() >= checks
            return is_each and is_checked and self.load.acknowledged() >= enough

        until(is_enough, "writes", STEP_SECONDS)

    def replace(self, number: int, binary: Path) -> None:
        """Replaces an instance, and lets both serve for a while."""
        begun = time.monotonic()
        self.service.binary = binary
        self.service.replace(number)
        self.stops.append(Stop(number, begun, time.monotonic()))
        self.wait_for_writes()

    def roll(self, binary: Path) -> None:
        """Replaces both instances, with all checks while the versions are mixed."""
        self.replace(0, binary)
        self.play()
        self.replace(1, binary)

    def play(self) -> None:
        """Uses both instances: everything issued by one at the other, and every RPC at each."""
        clients = [Contacts(address, self.service.token) for address in self.service.addresses]
        try:
            if not self.versions.added_rpcs:
                self._play_stories()
            for issuer, acceptor in (clients, clients[::-1]):
                exchange = Exchange(issuer, acceptor, self._mailbox)
                exchange.play()
                self.exchanged += exchange.accepted
            for contract in self.versions.contracts.values():
                for client in clients:
                    contract.play(client)
                    self.older_clients += 1
        except grpc.RpcError as error:
            raise Failed(f"a request failed: {error.code().name} {error.details()}") from error
        finally:
            for client in clients:
                client.close()

    def _play_stories(self) -> None:
        stories = [Story(self.service, self._mailbox, first) for first in range(INSTANCES)]
        for story in stories:
            try:
                story.play()
            finally:
                story.close()
            self.stories += 1
        # An erasure changes the events that the followers are compared with.
        missing = [text for text in missing_calls(stories) if not text.startswith("EraseCustomer ")]
        if missing:
            raise Failed("; ".join(missing))

    def wrong(self) -> list[str]:
        """Returns all failed checks, after the end of the load."""
        verdict = check(self.database.connect, self.service, self.load)
        committed = self.database.feed_events()
        for number, follower in enumerate(self.followers, 1):
            verdict.wrong += compare_events(f"follower {number}", committed, follower.seen)[1]
            if follower.failure or not follower.resumed:
                verdict.wrong.append(f"follower {number}: {follower.failure or 'never resumed'}")
        unexplained = [
            f"instance {failure.instance + 1}: {failure.status} {failure.text}"
            for failure in self.load.failures()
            if not any(stop.explains(failure) for stop in self.stops)
        ]
        return verdict.wrong + shown("a request failed without a stop", unexplained) + self._mails()

    def _mails(self) -> list[str]:
        emails = self.load.emails()

        def have_all() -> bool:
            return all(self._mailbox.mails_to(email) for email in emails)

        try:
            until(have_all, "mails", STEP_SECONDS, pause=0.2)
        except Failed:
            pass
        counts = {email: len(self._mailbox.mails_to(email)) for email in emails}
        other = [f"{email}: {count} times" for email, count in counts.items() if count != 1]
        return shown("mailed other than once", other)


def play(folder: Path, binaries: Path, versions: Versions, adds_columns: bool) -> bool:
    """Plays the rollout and prints its figures; returns true if all checks passed."""
    begun = time.monotonic()
    with ExitStack() as stack:
        database = Database(folder, binaries)
        stack.callback(database.stop)
        mailbox = stack.enter_context(DeferringMailbox())
        settings = {
            "DATABASE_URL": database.url,
            "SMTP_URL": mailbox.smtp_url,
            "MAIL_FROM": "kontakt@hoster.example",
            "PHONE_PASSWORD_COST": "m=8192,t=1,p=1",
        }
        service_folder = folder / "service"
        service_folder.mkdir()
        service = Service(
            versions.previous, service_folder, [settings] * INSTANCES, scopes=SCOPES
        )
        stack.callback(service.end)
        service.start()
        rollout = Rollout(service, database, mailbox, versions)
        rollout.begin()
        try:
            tables = roll_all(rollout, adds_columns)
        finally:
            rollout.end()
        findings = service.run("verify-data")
        wrong = rollout.wrong() + ([f"verify-data: {findings}"] if findings else [])
        service.stop()
    print_figures(rollout, wrong, tables, time.monotonic() - begun)
    return not wrong


def roll_all(rollout: Rollout, adds_columns: bool) -> int:
    """Forward, back and forward again; returns the number of tables that got columns."""
    versions, service, database = rollout.versions, rollout.service, rollout.database
    service.binary = versions.current
    service.run("migrate", "up")
    tables = database.add_columns() if adds_columns else 0
    rollout.wait_for_writes()
    rollout.roll(versions.current)
    # To the previous version, the schema is then one of a later version, as it is where this one has
    # migrations of its own.
    database.execute(
        f"INSERT INTO seaql_migrations (version, applied_at) VALUES ('{LATER_MIGRATION}', 0)"
    )
    rollout.roll(versions.previous)
    database.execute(f"DELETE FROM seaql_migrations WHERE version = '{LATER_MIGRATION}'")
    service.binary = versions.current
    service.run("migrate", "up")
    rollout.roll(versions.current)
    return tables


def print_figures(rollout: Rollout, wrong: list[str], tables: int, seconds: float) -> None:
    load, versions = rollout.load, rollout.versions
    longest = max((stop.ended - stop.begun for stop in rollout.stops), default=0.0)
    followers = "; ".join(f"{len(f.seen):,}, resumed {f.resumed} times" for f in rollout.followers)
    stories = f"{rollout.stories} stories of all RPCs"
    if versions.added_rpcs:
        stories = f"no stories, as the previous version lacks {', '.join(sorted(versions.added_rpcs))}"
    lines = [
        f"PostgreSQL: {len(rollout.stops)} instances replaced in {seconds:.0f} s, each within"
        f" {longest:.1f} s; {load.acknowledged():,} writes acknowledged, {load.reads():,} reads with"
        f" {load.checks():,} password checks,"
        f" {len(load.failures()):,} requests failed at a stop and were repeated; {len(wrong)} wrong",
        f"  events seen by followers: {followers}",
        f"  mails: {len(load.emails()):,} confirmations",
        f"  mixed versions: {stories}; {len(set(rollout.exchanged))} kinds of tokens, grants and ids"
        f" used at the other version, {len(rollout.exchanged)} times",
        f"  clients of an older contract: {rollout.older_clients} ({', '.join(versions.contracts)})",
        f"  columns added to {tables} tables under load",
    ]
    print("\n".join(lines), flush=True)
    for text in wrong:
        print(f"  wrong: {text}", flush=True)
