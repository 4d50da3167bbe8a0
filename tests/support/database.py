"""A database for every test, and direct SQL access."""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psycopg

BACKENDS = ["sqlite", "postgres"]


class Database:
    """An empty database: a file, or a schema of the PostgreSQL that scripts/e2e started."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.backend = backend
        self._file = folder / "contacts.db"
        if backend == "sqlite":
            self.url = f"sqlite://{self._file}?mode=rwc"
            return
        server = os.environ.get("TEST_POSTGRES_URL")
        assert server, "TEST_POSTGRES_URL is not set: run scripts/e2e"
        self._server = server
        self._schema = f"test_{uuid.uuid4().hex}"
        self.url = f"{server}?options[search_path]={self._schema}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {self._schema}")

    def execute(self, sql: str) -> int:
        """Runs a statement and returns the number of changed rows."""
        with self._connect() as connection:
            return connection.execute(sql).rowcount

    def rows(self, sql: str) -> list[tuple]:
        """Runs a query."""
        with self._connect() as connection:
            return connection.execute(sql).fetchall()

    def count(self, table_and_condition: str) -> int:
        """Counts rows, as in `count("outbox_mails WHERE state = 'dead'")`."""
        return self.rows(f"SELECT COUNT(*) FROM {table_and_condition}")[0][0]

    def drop(self) -> None:
        """Removes a schema; a file is removed with its folder."""
        if self.backend == "postgres":
            self.execute(f"DROP SCHEMA {self._schema} CASCADE")

    def _connect(self):
        if self.backend == "sqlite":
            # The mode prevents the creation of a missing file. Autocommit: no lock is held between
            # statements.
            connection = sqlite3.connect(
                f"file:{self._file}?mode=rw", uri=True, timeout=10, isolation_level=None
            )
            return closing(connection)
        return psycopg.connect(
            self._server, autocommit=True, options=f"-c search_path={self._schema}"
        )


def time_literal(moment: datetime) -> str:
    """Formats a time as SQLite stores it; PostgreSQL accepts the same."""
    return f"'{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}+00:00'"


def ago(**parts: float) -> str:
    """Returns the literal of a past time, as in `ago(days=8)`."""
    return time_literal(datetime.now(timezone.utc) - timedelta(**parts))
