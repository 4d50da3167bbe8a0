"""Queries to PostgreSQL by psql."""

from __future__ import annotations

from pathlib import Path

from support.processes import run

# Far above the time of any statement.
LONGEST_SECONDS = 3600


def psql(folder: Path, url: str, *statements: str) -> str:
    """Runs statements, each in its own transaction, and returns the rows as plain text."""
    commands = [part for statement in statements for part in ("-c", statement)]
    arguments = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, *commands]
    return run(arguments, folder, {}, LONGEST_SECONDS)


def postmaster(folder: Path, url: str) -> int:
    """Returns the process id of a server on this machine: the parent of its checkpointer."""
    query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
    pid = psql(folder, url, query)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])
