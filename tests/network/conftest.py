"""Fixtures: a database on PostgreSQL; and the report tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import report
from support.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database("postgres", tmp_path)
    yield database
    database.drop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for title, lines in report.tables():
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)
