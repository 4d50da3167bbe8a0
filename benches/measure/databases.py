"""The databases of the measurements, created on first use and reused afterwards."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from .processes import Tools, run_tool

SEED = 1


class Databases:
    """Databases by kind and number of customers."""

    def __init__(self, tools: Tools, server_url: str) -> None:
        self._tools = tools
        self._server_url = server_url
        self._urls: dict[tuple[str, int], str] = {}

    def postgres(self, customers: int) -> str:
        """Returns the URL of a database on this run's PostgreSQL."""
        key = ("PostgreSQL", customers)
        if key not in self._urls:
            name = f"contacts_{customers}"
            url = urlsplit(self._server_url)._replace(path=f"/{name}").geturl()
            psql(self._tools.folder, self._server_url, f"DROP DATABASE IF EXISTS {name}")
            psql(self._tools.folder, self._server_url, f"CREATE DATABASE {name}")
            self._fill(*key, url)
            # Otherwise these would run in the middle of a measurement.
            psql(self._tools.folder, url, "VACUUM (ANALYZE)", "CHECKPOINT")
            self._urls[key] = url
        return self._urls[key]

    def copy(self, customers: int, name: str, *statements: str) -> str:
        """Returns the URL of a copy of a PostgreSQL database, modified by statements."""
        original = self.postgres(customers)
        copied = f"contacts_{customers}_{name}"
        folder = self._tools.folder
        psql(folder, self._server_url, f"DROP DATABASE IF EXISTS {copied}")
        template = urlsplit(original).path.lstrip("/")
        psql(folder, self._server_url, f"CREATE DATABASE {copied} TEMPLATE {template}")
        url = urlsplit(self._server_url)._replace(path=f"/{copied}").geturl()
        psql(folder, url, *statements, "CHECKPOINT")
        return url

    def sqlite(self, customers: int) -> str:
        """Returns the URL of a database file."""
        key = ("SQLite", customers)
        if key not in self._urls:
            file = self._tools.folder / f"contacts-{customers}.db"
            for leftover in self._tools.folder.glob(f"{file.name}*"):
                leftover.unlink()
            url = f"sqlite://{file}?mode=rwc"
            self._fill(*key, url)
            self._urls[key] = url
        return self._urls[key]

    def _fill(self, kind: str, customers: int, url: str) -> None:
        start = time.monotonic()
        print(f"filling {kind} with {customers:,} customers", file=sys.stderr, flush=True)
        run_tool([self._tools.service, "migrate", "up"], self._tools.folder, DATABASE_URL=url)
        generate: list[str | Path] = [
            self._tools.generate,
            f"--customers={customers}",
            f"--seed={SEED}",
            f"--database-url={url}",
        ]
        output = run_tool(generate, self._tools.folder, DATABASE_URL=url)
        seconds = time.monotonic() - start
        print(f"  {seconds:.1f} s: {output.splitlines()[-1:]}", file=sys.stderr, flush=True)


def psql(folder: Path, url: str, *statements: str) -> str:
    """Runs statements, each in its own transaction, and returns the rows as plain text."""
    commands = [part for statement in statements for part in ("-c", statement)]
    return run_tool(
        ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, *commands], folder
    )
