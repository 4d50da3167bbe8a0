"""All screens at the smallest and at a comfortable size, in both languages: nothing is cut off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import texts
from playwright.sync_api import Browser, sync_playwright

from support.browser import launch
from support.contacts import Contacts
from support.database import Database
from support.polling import until
from support.service import Service
from support.terminal import Terminal

from conftest import SUPERVISOR, Start
from sample import ANNAS_PASSWORD, Folder, Sample, create_order_types, create_sample, lock

FOLDER = os.environ.get("CALL_CENTER_SCREENSHOTS")
SIZES = [(80, 24), (120, 40)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser | None]:
    if not FOLDER:
        yield None
        return
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    """A service of its own, so that its lists are the same in each run."""
    folder: Path = tmp_path_factory.mktemp("screens")
    with Service(folder, Database("sqlite", folder)) as service:
        service.start()
        create_order_types(service)
        yield service


@pytest.fixture
def agent() -> str:
    return "agent-7"


@pytest.fixture(scope="module")
def sample(service: Service) -> Sample:
    return create_sample(service.contacts, Folder(service), "1001")


class Walk:
    """A walk through the screens in one language and size."""

    def __init__(self, terminal: Terminal, language: str, browser: Browser | None) -> None:
        self._terminal = terminal
        self._language = language
        self._browser = browser

    def text(self, key: str, **values: object) -> str:
        return texts.LANGUAGES[self._language][key].format(**values)

    def at(self, screen: str, last_key: str, *keys: str, **values: object) -> None:
        """Waits for texts, and for the last key of the last line, which would be cut off first."""
        self._terminal.wait_for(
            *(self.text(key, **values) for key in keys), without=[self.text("busy")]
        )
        until(
            lambda: self._last_line().endswith(self.text(last_key)), f"{last_key} at {screen}", 20
        )
        if self._browser and FOLDER:
            from support.picture import draw  # only where the packages for it are needed

            width = self._terminal.size[0]
            path = Path(FOLDER) / f"call-center-{self._language}-{screen}-{width}.png"
            draw(self._browser, self._terminal.colored_screen, width, path)

    def _last_line(self) -> str:
        return self._terminal.screen.splitlines()[-1].rstrip()


@pytest.mark.parametrize("language", ["de", "en"])
@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
def test_all_screens_fit(
    start: Start,
    sample: Sample,
    contacts: Contacts,
    browser: Browser | None,
    language: str,
    size: tuple[int, int],
) -> None:
    terminal = start("--language", language, size=size, scope=SUPERVISOR)
    walk = Walk(terminal, language, browser)
    name = "Anna Schmidt"
    terminal.wait_for(walk.text("start.hint"))
    terminal.type(f"{sample.phone}112", "Enter")
    walk.at(
        "start", "key.quit", "start.found", "match.2", "bar.not_authenticated", "bar.identifies"
    )
    terminal.press("Enter")
    walk.at(
        "customer",
        "key.history",
        "customer.choose",
        "column.this_call",
        "bar.same_line",
        "bar.identifies",
    )
    terminal.press("p")
    terminal.wait_for(walk.text("password.hint"))
    terminal.type("falsch falsch", "Enter")
    walk.at("password", "key.close", "password.title", "password.no_match", name=name, count=1)
    terminal.type(ANNAS_PASSWORD, "Enter")
    walk.at("orders", "key.history", "orders.title", "orders.hint", name=name)
    terminal.press("Down", "Down", "Down", "Right", "Enter")
    terminal.wait_for(walk.text("verdict.2"))
    walk.at("denied", "key.close", "advice.denial.2")
    terminal.leave(walk.text("verdict.2"))
    terminal.press("Down", "Left", "Enter")
    walk.at("decision", "key.not_placed", "verdict.3", "advice.3", "order.reference")
    terminal.type("A-4711", "F2")
    terminal.wait_for(walk.text("order.recorded", outcome=walk.text("outcome.1")))
    terminal.press("h")
    walk.at("history", "key.back", "history.hint", "column.outcome", "outcome.1")
    terminal.press("Enter")
    walk.at("order", "key.close", "detail.title", "detail.call")
    for shown in (
        walk.text("detail.authorization"),
        walk.text("history.title", customer=sample.number),
        walk.text("orders.title", name=name),
    ):
        terminal.leave(shown)
    terminal.press("m")
    walk.at("code", "key.close", "code.title", "code.hint", name=name)
    terminal.press("F9")
    terminal.wait_for(walk.text("start.ended"))
    terminal.press("F8")
    walk.at("supervisor", "key.locks", "supervisor.title", "column.outcome", "outcome.1")
    lock(contacts, sample.carla)
    terminal.press("F6")
    walk.at("locks", "key.unlock", "locks.hint", "locks.events", "event.21")
