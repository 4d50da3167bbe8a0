"""The confirmation page in a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

LANGUAGES = {"de": "de-DE", "en": "en-GB"}
WIDTHS = [320, 1280]
HEIGHT = 720


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(
        executable_path=os.environ["E2E_CHROMIUM"],
        # No sandbox, which containers and root cannot use. Only our own pages are opened.
        args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    )


@contextmanager
def context_in(browser: Browser, language: str = "de", **options) -> Iterator[BrowserContext]:
    """Returns a browser context of this language without any history."""
    options = {"timezone_id": "Europe/Berlin", **options}
    context = browser.new_context(locale=LANGUAGES[language], **options)
    context.set_default_timeout(20_000)
    try:
        yield context
    finally:
        context.close()


@contextmanager
def opened(browser: Browser, link: str, language: str = "de", **options) -> Iterator[Page]:
    """Opens the page of a link and waits until its script shows the state."""
    with context_in(browser, language, **options) as context:
        page = context.new_page()
        page.goto(link)
        settled(page)
        yield page


def settled(page: Page) -> str | None:
    """Waits for the state of the link and returns it."""
    page.wait_for_selector("html:not([data-state=loading])")
    return state(page)


def state(page: Page) -> str | None:
    return page.get_attribute("html", "data-state")


def wait_for_state(page: Page, name: str) -> None:
    # By selector: the page's policy forbids the evaluation that other ways of waiting need.
    page.wait_for_selector(f"html[data-state={name}]")


def press(page: Page) -> None:
    """Clicks as a person does: the event arrives as trusted input."""
    page.click("#confirm")


def screenshot(page: Page, folder: Path, name: str) -> None:
    """Takes a screenshot at every width; nothing may overflow the narrow one."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.screenshot(path=folder / f"{name}-{width}.png", full_page=True)
        needed = page.evaluate("document.documentElement.scrollWidth")
        assert needed <= width, f"{name} needs {needed} px where {width} px are"


@dataclass
class Traffic:
    """All requests of a browser: every URL, and every header as sent."""

    urls: list[str] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Watches a page and the windows that it opens."""
        page.on("request", lambda request: self.urls.append(request.url))
        page.on("popup", self.watch)
        session = page.context.new_cdp_session(page)
        session.on("Network.requestWillBeSentExtraInfo", self._note_headers)
        session.send("Network.enable")

    def _note_headers(self, event: dict) -> None:
        self.headers += [(name.lower(), value) for name, value in event["headers"].items()]

    def values_of(self, header: str) -> list[str]:
        return [value for name, value in self.headers if name == header]
