"""The statements that the database executed during a measurement, by pg_stat_statements.

A row is valid only if the database did little else than the row's own work: otherwise background
jobs, or another client, were measured as well.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from .server import psql

MAX_OTHER_SHARE = 0.02
TOP = 5
RECIPIENTS = frozenset({"customers", "contacts"})
READ = RECIPIENTS | {"contact_phone_numbers", "phone_passwords"}
FEED = frozenset({"change_feed", "feed_inbox", "feed_entries"})
WRITTEN = READ | FEED | {"audit_events", "outbox_mails", "request_ids"}
CHECKED = WRITTEN | {"order_types", "phone_password_agents", "phone_password_calls"}
COUNTERS = frozenset({"channel_check_agents", "channel_check_customers", "customer_search_agents"})

TRANSACTION = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b", re.IGNORECASE)
# The form in which retention deletes rows whose time is over.
RETENTION = re.compile(r"\bctid = ANY\b", re.IGNORECASE)
CHANGE = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM)\s+\"?(\w+)", re.IGNORECASE)
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Own:
    """The rule by which a statement belongs to the measured requests.

    All tables that it names are among `tables`, at least one is in `needed`, and it changes only
    `changed`. With `of_elapsed`, others are compared with the time of a core, not with the
    execution time: those requests use the database little or not at all.
    """

    tables: frozenset[str]
    needed: frozenset[str]
    changed: frozenset[str] = frozenset()
    inserted: frozenset[str] = frozenset()
    of_elapsed: bool = False
    # False: for information, as other work is the subject of the row.
    is_enforced: bool = True

    def includes(self, query: str, known_tables: frozenset[str]) -> bool:
        named = known_tables.intersection(WORD.findall(query))
        if not named:
            return bool(self.changed or self.inserted) and bool(TRANSACTION.match(query))
        if named - self.tables or not named & self.needed or RETENTION.search(query):
            return False
        return all(
            table in self.changed or (verb.upper() == "INSERT INTO" and table in self.inserted)
            for verb, table in CHANGE.findall(query)
            if table in known_tables
        )


READS = Own(READ, RECIPIENTS)
DISCLOSES = Own(
    READ | COUNTERS | {"audit_events"},
    RECIPIENTS | COUNTERS,
    changed=COUNTERS,
    inserted=frozenset({"audit_events"}),
)
WRITES = Own(WRITTEN, WRITTEN - {"phone_passwords"}, changed=WRITTEN)
CHECKS = Own(CHECKED, CHECKED, changed=CHECKED, of_elapsed=True)
DISTURBED_READS = replace(READS, of_elapsed=True, is_enforced=False)
OF_RPC = {
    "resolve": READS,
    "stream": READS,
    "stream-all": READS,
    "get-contact": READS,
    "empty": Own(frozenset(), frozenset(), of_elapsed=True),
    "verify-channel": DISCLOSES,
    "find-customers": DISCLOSES,
    "create-contact": WRITES,
    "update-contact": WRITES,
    "check-password": CHECKS,
}


@dataclass(frozen=True)
class OtherStatements:
    """The share of other statements in a measurement, and the largest of them."""

    share: float
    of: str
    is_enforced: bool
    top: list[str]

    @property
    def is_valid(self) -> bool:
        return not self.is_enforced or self.share <= MAX_OTHER_SHARE

    def describe(self) -> str:
        return f"other statements took {self.share:.1%} of {self.of}: {'; '.join(self.top[:3])}"


class StatementWatch:
    """Observes the statements of a database. The counters of the server begin at zero."""

    def __init__(self, folder: Path, server_url: str, url: str, own: Own) -> None:
        self._folder = folder
        self._server_url = server_url
        self._database = urlsplit(url).path.lstrip("/")
        self._own = own
        self._tables = frozenset(psql(folder, url, TABLES).splitlines())
        self._start = 0.0
        self.others: OtherStatements | None = None

    def __enter__(self) -> Self:
        reset(self._folder, self._server_url)
        self._start = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            elapsed = time.monotonic() - self._start
            self.others = self._classify(executed(self._folder, self._server_url), elapsed)

    def _classify(self, statements: list[dict[str, Any]], elapsed: float) -> OtherStatements:
        others = [statement for statement in statements if not self._is_own(statement)]
        others.sort(key=lambda statement: -statement["ms"])
        total = sum(statement["ms"] for statement in statements)
        # Statements that wait for a lock or the disk execute for longer than all cores could.
        is_elapsed = self._own.of_elapsed or total > elapsed * 1000
        base = elapsed * 1000 if is_elapsed else total
        share = sum(statement["ms"] for statement in others) / base if base else 0.0
        return OtherStatements(
            share,
            "a core's time" if is_elapsed else "the execution time",
            self._own.is_enforced,
            [describe(statement) for statement in others[:TOP]],
        )

    def _is_own(self, statement: dict[str, Any]) -> bool:
        is_here = statement["database"] == self._database
        return is_here and self._own.includes(statement["query"], self._tables)


def describe(statement: dict[str, Any]) -> str:
    query = " ".join(statement["query"].split())
    return f"{statement['ms']:.1f} ms, {statement['calls']} calls: {query[:120]}"


def create_extension(folder: Path, server_url: str) -> None:
    """Prepares the server, which has the library in shared_preload_libraries."""
    psql(folder, server_url, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def reset(folder: Path, server_url: str) -> None:
    psql(folder, server_url, "SELECT pg_stat_statements_reset()")


def executed(folder: Path, server_url: str) -> list[dict[str, Any]]:
    """Returns the statements since the last reset, except those of the server's own database,
    through which the counters are read."""
    statements: list[dict[str, Any]] = json.loads(psql(folder, server_url, EXECUTED))
    return statements


TABLES = (
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)
EXECUTED = """
    SELECT coalesce(json_agg(json_build_object('database', datname, 'query', query, 'calls', calls,
        'ms', total_exec_time)), '[]')
    FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
    WHERE datname <> current_database()"""
