"""The databases of the measurements, created on first use and reused afterwards.

They are those of a service in its steady state: a running service has sequenced all events and has
nothing to delete, and the tables are vacuumed and analyzed.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from .figures import RowFailed
from .processes import LONGEST_SECONDS, Service, Tools, run_tool
from .processor import CpuClock
from .server import postmaster, psql

SEED = 1
# A service has nothing to do when it occupies less of a core, and the database as well.
QUIET_SHARE = 0.05
QUIET_WINDOW = 1.0
IN_INBOX = "SELECT 1 FROM feed_inbox LIMIT 1"


class Databases:
    """Databases by kind and number of customers."""

    def __init__(self, tools: Tools, server_url: str) -> None:
        self.server_url = server_url
        self._tools = tools
        self._urls: dict[str, str] = {}

    def postgres(self, customers: int) -> str:
        """Returns the URL of a database on this run's PostgreSQL, in its steady state."""
        name = f"contacts_{customers}"
        if name not in self._urls:
            url = self._create(name, customers)
            self._reach_steady_state(url)
            self._urls[name] = url
        return self._urls[name]

    def with_backlog(self, customers: int) -> str:
        """Returns the URL of a database of which no event is sequenced, as after an import."""
        return self._create(f"contacts_{customers}_backlog", customers)

    def empty(self, name: str) -> str:
        """Returns the URL of a new database with the service's schema."""
        psql(
            self._tools.folder,
            self.server_url,
            f"DROP DATABASE IF EXISTS {name}",
            f"CREATE DATABASE {name}",
        )
        url = urlsplit(self.server_url)._replace(path=f"/{name}").geturl()
        run_tool([self._tools.service, "migrate", "up"], self._tools.folder, DATABASE_URL=url)
        return url

    def drop(self, url: str) -> None:
        name = urlsplit(url).path.lstrip("/")
        psql(self._tools.folder, self.server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def copy(self, customers: int, name: str) -> str:
        """Returns the URL of a copy of a PostgreSQL database."""
        original = self.postgres(customers)
        copied = f"contacts_{customers}_{name}"
        template = urlsplit(original).path.lstrip("/")
        folder = self._tools.folder
        psql(folder, self.server_url, f"DROP DATABASE IF EXISTS {copied}")
        psql(folder, self.server_url, f"CREATE DATABASE {copied} TEMPLATE {template}", "CHECKPOINT")
        return urlsplit(self.server_url)._replace(path=f"/{copied}").geturl()

    def sqlite(self, customers: int) -> str:
        """Returns the URL of a database file, in its steady state."""
        name = f"contacts-{customers}.db"
        if name not in self._urls:
            for leftover in self._tools.folder.glob(f"{name}*"):
                leftover.unlink()
            url = f"sqlite://{self._tools.folder / name}?mode=rwc"
            run_tool([self._tools.service, "migrate", "up"], self._tools.folder, DATABASE_URL=url)
            self._fill(url, customers)
            self._reach_steady_state(url)
            self._urls[name] = url
        return self._urls[name]

    def refresh(self) -> None:
        """Vacuums and analyzes what earlier rows have changed, so that no measurement waits for it.

        Deletes the notices that they queued, which would become due in a later one.
        """
        for url in self._urls.values():
            if not url.startswith("sqlite:"):
                psql(self._tools.folder, url, "TRUNCATE outbox_mails")
            self._vacuum(url)
        self.checkpoint()

    def checkpoint(self) -> None:
        """Begins a checkpoint, so that both sides of a row write the same full pages after it."""
        psql(self._tools.folder, self.server_url, "CHECKPOINT")

    def settle(self, service: Service) -> None:
        """Waits until a service and its database have nothing to do."""
        url = service.database_url
        clock = CpuClock.of(service.pid, *self.server_processes(url))
        deadline = time.monotonic() + LONGEST_SECONDS
        while True:
            start, used = time.monotonic(), clock.seconds()
            time.sleep(QUIET_WINDOW)
            share = (clock.seconds() - used) / (time.monotonic() - start)
            if share < QUIET_SHARE and not self.has_waiting_events(url):
                return
            if time.monotonic() > deadline:
                raise RowFailed(f"the service and its database still use {share:.0%} of a core")

    def server_processes(self, url: str) -> list[int]:
        """Returns the process id of PostgreSQL's postmaster; nothing for SQLite."""
        if url.startswith("sqlite:"):
            return []
        return [postmaster(self._tools.folder, self.server_url)]

    def has_waiting_events(self, url: str) -> bool:
        """Returns true if events are to be sequenced."""
        if url.startswith("sqlite:"):
            file = urlsplit(url).path
            with closing(sqlite3.connect(file, timeout=10)) as connection:
                return connection.execute(IN_INBOX).fetchone() is not None
        return bool(psql(self._tools.folder, url, IN_INBOX))

    def _create(self, name: str, customers: int) -> str:
        url = self.empty(name)
        self._fill(url, customers)
        self._vacuum(url)
        return url

    def _fill(self, url: str, customers: int) -> None:
        start = time.monotonic()
        kind = urlsplit(url).scheme
        print(f"filling {kind} with {customers:,} customers", file=sys.stderr, flush=True)
        generate: list[str | Path] = [
            self._tools.generate,
            f"--customers={customers}",
            f"--seed={SEED}",
            f"--database-url={url}",
        ]
        output = run_tool(generate, self._tools.folder, DATABASE_URL=url)
        seconds = time.monotonic() - start
        print(f"  {seconds:.1f} s: {output.splitlines()[-1:]}", file=sys.stderr, flush=True)

    def _reach_steady_state(self, url: str) -> None:
        start = time.monotonic()
        with Service(self._tools, url) as service:
            self.settle(service)
        self._vacuum(url)
        seconds = time.monotonic() - start
        print(f"  {seconds:.1f} s until nothing waited", file=sys.stderr, flush=True)

    def _vacuum(self, url: str) -> None:
        if url.startswith("sqlite:"):
            with closing(sqlite3.connect(urlsplit(url).path)) as connection:
                connection.execute("ANALYZE")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return
        psql(self._tools.folder, url, "VACUUM (ANALYZE)", "CHECKPOINT")
