"""Customers recognize whose mail and page it is, and read times in a zone that they know."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from support import browser as web
from support.contacts import unique_address
from support.mailbox import Mail
from support.service import Service

NAME = 'Müller & Söhne "Hosting" 🌩'
CONTACT = "0211 1234-0, hilfe@hoster.example"
LOGO = Path(__file__).parents[1] / "support/logo.png"
YELLOW = "#ffdd00"
BRAND = {
    "BRAND_NAME": NAME,
    "BRAND_CONTACT": CONTACT,
    "BRAND_LOGO": str(LOGO),
    "TIME_ZONE": "Europe/Zurich",
}
COLORS = [YELLOW, "#0b6e4f", "#ffffff", "#000000", "#7f7f7f"]
IMAGE_WIDTH = "document.querySelector('.brand img').naturalWidth"
STYLE = "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]"


@pytest.fixture(params=[YELLOW])
def branded(request, tmp_path, database, mailbox):
    """A running service with a brand of this color."""
    settings = {**BRAND, "BRAND_COLOR": request.param, "SMTP_URL": mailbox.smtp_url}
    with Service(tmp_path, database, **settings) as service:
        service.start()
        yield service


def confirmation(service: Service, mailbox, language: str) -> Mail:
    address, contacts = unique_address(), service.contacts
    contacts.create_contact(contacts.create_customer(), email=address, locale=language)
    return mailbox.wait_for(address)


@pytest.mark.parametrize(
    "backend, language", [("sqlite", "de"), ("postgres", "en")], indirect=["backend"]
)
def test_mail_shows_the_brand_and_fetches_nothing(
    branded, mailbox, browser, screenshots, language
):
    mail = confirmation(branded, mailbox, language)
    [sender] = mail.message["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (NAME, "kontakt@hoster.example")
    assert mail.message["Subject"].startswith(f"{NAME}: ")
    assert not mail.message.defects
    for said in (NAME, CONTACT, {"de": "ignorieren", "en": "ignore"}[language]):
        assert said in mail.text
    clock = {"de": r", \d\d:\d\d Uhr \(ME(S?)Z\)", "en": r", \d\d:\d\d \(CE(S?)T\)"}
    assert re.search(clock[language], mail.text) and "UTC" not in mail.text + mail.html
    # multipart/alternative: the text, or multipart/related with the HTML and its logo.
    text, related = mail.message.iter_parts()
    page, logo = related.iter_parts()
    assert [part.get_content_type() for part in (text, related, page, logo)] == [
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
    ]
    assert logo.get_content() == LOGO.read_bytes()
    assert f'src="cid:{logo["Content-ID"].strip("<>")}"' in mail.html
    with web.context_in(browser, language, java_script_enabled=False) as context:
        shown, requested = context.new_page(), []
        shown.on("request", lambda request: requested.append(request.url))
        shown.set_content(mail.html)
        web.screenshot(shown, screenshots, f"{language}-branded-mail")
    assert all(url.startswith("cid:") for url in requested), requested


def luminance(color: str) -> float:
    """Returns the relative luminance (WCAG 2.2) of a computed color."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def style(page, selector: str, name: str) -> str:
    return page.evaluate(STYLE, [selector, name])


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("branded", COLORS, indirect=True)
def test_page_shows_brand_logo_and_color_readably(branded, mailbox, browser, screenshots, request):
    link = confirmation(branded, mailbox, "de").link
    color = request.node.callspec.params["branded"]
    for scheme in ("light", "dark"):
        with web.opened(browser, link, color_scheme=scheme) as page:
            messages: list[str] = []
            page.on("console", lambda message: messages.append(message.text))
            page.reload()
            assert web.settled(page) == "pending"
            assert page.title().endswith(f" – {NAME}")
            assert page.get_attribute(".brand img", "alt") == NAME
            assert page.evaluate(IMAGE_WIDTH) == 480
            assert page.inner_text("footer") == CONTACT
            assert f"wurde bei {NAME} für einen Ansprechpartner" in page.inner_text("main")
            web.screenshot(page, screenshots, f"de-branded-{color[1:]}-{scheme}")
            button = style(page, "#confirm", "backgroundColor")
            border = style(page, "#confirm", "borderTopColor")
            assert contrast(style(page, "#confirm", "color"), button) >= 4.5
            assert contrast(border, style(page, ".card", "backgroundColor")) >= 3
            if scheme == "light":
                red, green, blue = (int(color[index : index + 2], 16) for index in (1, 3, 5))
                assert button == f"rgb({red}, {green}, {blue})"
            # The policy of the page blocks nothing of it.
            assert not [text for text in messages if "Content Security Policy" in text]


# The zone of a browser, and the one of shown times: that of the provider if the browser hides its own.
ZONES = {
    "Europe/Berlin": "Europe/Berlin",
    "America/New_York": "America/New_York",
    "Asia/Kathmandu": "Asia/Kathmandu",
    "UTC": "Europe/Zurich",
}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("language", ["de", "en"])
def test_page_shows_times_in_the_zone_of_the_reader(branded, mailbox, browser, language):
    link = confirmation(branded, mailbox, language).link
    for own, expected in ZONES.items():
        with web.opened(browser, link, language, timezone_id=own) as page:
            assert web.state(page) == "pending"
            time = datetime.fromisoformat(page.get_attribute("#expire-time", "datetime"))
            local, shown = time.astimezone(ZoneInfo(expected)), page.inner_text("#expire-time")
        assert f"{local:%H:%M}" in shown and f" {local.day}" in shown, (own, shown)
        # The zone is named, and is never bare UTC.
        assert re.search(r"(ME(S?)Z|CE(S?)T|GMT[+-]\d|E[SD]T)", shown), (own, shown)
        assert "UTC" not in shown
