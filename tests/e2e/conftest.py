"""Fixtures: database, mailbox, service, certificates and browser; and the report tables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trustme
from playwright.sync_api import sync_playwright

from support import report
from support.browser import launch
from support.database import BACKENDS, Database
from support.mailbox import Mailbox
from support.service import Service


@pytest.fixture(params=BACKENDS)
def backend(request) -> str:
    return request.param


@pytest.fixture
def database(backend: str, tmp_path: Path):
    database = Database(backend, tmp_path)
    yield database
    database.drop()


@pytest.fixture
def mailbox():
    """A server without authentication and TLS, as on the service's own host."""
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def service(tmp_path: Path, database: Database, mailbox: Mailbox):
    """A running service that sends to `mailbox`."""
    with Service(tmp_path, database, SMTP_URL=mailbox.smtp_url) as service:
        service.start()
        yield service


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The certificate authority that the service trusts."""
    return trustme.CA()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory) -> Path:
    folder = Path(os.environ.get("E2E_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pytest_sessionfinish(session) -> None:
    # Of a worker: the process that prints the summary is another one.
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["tables"] = report.rows()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    report.add_rows(getattr(node, "workeroutput", {}).get("tables", {}))


def pytest_terminal_summary(terminalreporter) -> None:
    for title, lines in report.tables():
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)
