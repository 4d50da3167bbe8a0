"""The two databases: how each is started, backed up under load, and restored."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from failover.processes import START_SECONDS, Account, Process, run
from failover.service import Service
from support.polling import until
from support.processes import Failed, free_port

from .checks import CONTACTS, CUSTOMERS, Point

SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "archive_mode": "on",
    "wal_level": "replica",
    "archive_timeout": "60",
}


class Server:
    """A PostgreSQL server that archives its write-ahead log."""

    def __init__(self, name: str, folder: Path, binaries: Path, account: Account) -> None:
        self.folder = folder
        self.data, self.archive = folder / name, folder / "archive"
        self.port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        self._name, self._binaries, self._account = name, binaries, account
        self._process: Process | None = None

    def create(self) -> None:
        self.archive.mkdir()
        self._account.own(self.archive)
        arguments = ["-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        self.run("initdb", *arguments)

    def start(self, **settings: str) -> None:
        archive = f"'test ! -f {self.archive}/%f && cp %p {self.archive}/%f'"
        settings = {**SETTINGS, "archive_command": archive, **settings, "port": str(self.port)}
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        postgres = self._binaries / "postgres"
        self._process = Process(
            self._name, [postgres, "-D", self.data], self.folder, self._account
        )
        until(self._accepts_writes, "PostgreSQL", START_SECONDS)

    def _accepts_writes(self) -> bool:
        assert self._process
        self._process.expect_alive()
        try:
            return not self.query("SELECT pg_is_in_recovery()")[0][0]
        except psycopg.OperationalError:
            return False

    def run(self, program: str, *arguments: str | Path) -> str:
        return run([self._binaries / program, *arguments], self.folder, self._account)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=2) as connection:
            return connection.execute(sql).fetchall()

    def stop(self) -> None:
        if self._process:
            # An immediate shutdown, as of a machine that is lost.
            self._process.stop(signal.SIGQUIT)
            self._process = None


class Postgres:
    """A base backup, an archive, and a recovery to a point in time."""

    name = "PostgreSQL"

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self._account = Account()
        self._account.own(folder)
        self._server = Server("primary", folder, binaries, self._account)
        self._restored = Server("restored", folder, binaries, self._account)
        self._target = ""
        self._server.create()
        self._server.start()
        self.url, self.restored_url = self._server.url, self._restored.url

    def back_up(self, service: Service) -> None:
        """Takes the base backup under load."""
        url, data = self._server.url, self._restored.data
        self._server.run("pg_basebackup", "-d", url, "-D", data, "-c", "fast", "-X", "none")

    def point(self, service: Service) -> Point:
        """Notes the time to recover to."""
        start = time.monotonic()
        self._target = self._server.query("SELECT clock_timestamp()::text")[0][0]
        return Point(start, time.monotonic())

    def restore(self) -> None:
        """Archives the rest of the log, loses the server, and recovers into an empty folder."""
        last = self._server.query("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
        until((self._server.archive / last).exists, "the archive", START_SECONDS)
        self._server.stop()
        (self._restored.data / "recovery.signal").touch()
        self._account.own(self._restored.data / "recovery.signal")
        self._restored.start(
            restore_command=f"'cp {self._server.archive}/%f %p'",
            recovery_target_time=f"'{self._target}'",
            recovery_target_action="promote",
            archive_mode="off",
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._restored.query(sql)

    def contacts(self) -> list[tuple[Any, ...]]:
        return self.rows(CONTACTS.format(id="contact_id::text"))

    def stop(self) -> None:
        self._server.stop()
        self._restored.stop()


class Sqlite:
    """`contact-service backup` of a database in use."""

    name = "SQLite"

    def __init__(self, folder: Path, _binaries: Path) -> None:
        self.folder = folder
        self._backup, self._restored = folder / "backup.db", folder / "restored.db"
        self.url = f"sqlite://{folder}/live.db?mode=rwc"
        self.restored_url = f"sqlite://{self._restored}"

    def back_up(self, service: Service) -> None:
        """The backup is its own point."""

    def point(self, service: Service) -> Point:
        start = time.monotonic()
        service.run("backup", str(self._backup))
        return Point(start, time.monotonic())

    def restore(self) -> None:
        mode = self._backup.stat().st_mode & 0o777
        if mode != 0o600:
            raise Failed(f"the backup has the mode {mode:o}")
        shutil.copyfile(self._backup, self._restored)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._restored)) as connection:
            return connection.execute(sql).fetchall()

    def contacts(self) -> list[tuple[Any, ...]]:
        parts = "lower(hex(contact_id))"
        cuts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        uuid = " || '-' || ".join(f"substr({parts}, {start}, {size})" for start, size in cuts)
        return self.rows(CONTACTS.format(id=uuid))

    def stop(self) -> None:
        """There is no server."""


def customers(database: Postgres | Sqlite) -> set[str]:
    """Returns the numbers of all restored customers."""
    return {row[0] for row in database.rows(CUSTOMERS)}
