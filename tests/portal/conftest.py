"""Fixtures: one service with its mailbox, one portal and one browser for all tests.

Each test has a customer of its own, so that none sees another's data.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from contact.v1 import order_type_pb2
from playwright.sync_api import sync_playwright

from support import report
from support.browser import launch
from support.contacts import Contacts
from support.database import Database
from support.mailbox import Mailbox
from support.portal import Portal, visiting
from support.service import Service

from sample import Sample, create_sample


@pytest.fixture(scope="session")
def mailbox():
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture(scope="session")
def service(tmp_path_factory, mailbox: Mailbox):
    folder: Path = tmp_path_factory.mktemp("service")
    database = Database("sqlite", folder)
    with Service(folder, database, SMTP_URL=mailbox.smtp_url) as service:
        service.start()
        create_order_types(service)
        yield service


@pytest.fixture(scope="session")
def contacts(service: Service) -> Contacts:
    return service.contacts


@pytest.fixture(scope="session")
def portal(service: Service, tmp_path_factory):
    with Portal(service, tmp_path_factory.mktemp("portal")) as portal:
        yield portal


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(params=["de", "en"])
def language(request) -> str:
    return request.param


@pytest.fixture
def sample(contacts: Contacts, mailbox: Mailbox) -> Sample:
    """A customer with three contacts, whose addresses are confirmed."""
    return create_sample(contacts, mailbox)


@pytest.fixture(scope="session")
def unchanged_sample(contacts: Contacts, mailbox: Mailbox) -> Sample:
    """A customer for tests that store nothing, so that they share it."""
    return create_sample(contacts, mailbox)


@pytest.fixture(scope="session")
def visitors(browser, portal: Portal, unchanged_sample: Sample):
    """The logged-in customer of `unchanged_sample` in each language."""
    with (
        visiting(browser, portal, unchanged_sample.number, "de") as german,
        visiting(browser, portal, unchanged_sample.number, "en") as english,
    ):
        yield {"de": german, "en": english}


@pytest.fixture
def visitor(browser, portal: Portal, sample: Sample):
    """A logged-in customer, in German."""
    with visiting(browser, portal, sample.number) as visitor:
        yield visitor


def create_order_types(service: Service) -> None:
    token = service.run("token", "--sub", "catalog", "--scope", "order_types.write")
    names = {"web_hosting": "Webhosting-Paket", "cancellation": "Kündigung"}
    for code, name in names.items():
        service.contacts.stub.UpdateOrderType(
            order_type_pb2.UpdateOrderTypeRequest(
                order_type=order_type_pb2.OrderType(
                    code=code, display_name=name, offered_by_phone=True
                ),
                allow_missing=True,
            ),
            metadata=[("authorization", f"Bearer {token}")],
        )


def pytest_terminal_summary(terminalreporter) -> None:
    for title, lines in report.tables():
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)
