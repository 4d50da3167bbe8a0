"""Rules 5 to 10 as people meet them: a mail, its link, the page, and what holds afterwards."""

from __future__ import annotations

import email
import email.policy
import html
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest
import trustme

from harness import browser as web
from harness.contacts import EXPIRED, Contacts, unique_address
from harness.database import ago
from harness.mailbox import (
    LINK,
    PASSWORD,
    PLAIN,
    PROTECTIONS,
    SMTPS,
    STARTTLS,
    STARTTLS_AUTH,
    Mail,
    Mailbox,
)
from harness.polling import until
from harness.service import Service


def certificate_file(authority: trustme.CA, folder: Path) -> str:
    path = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def confirm_in_browser(browser, link: str, language: str) -> None:
    with web.opened(browser, link, language) as page:
        assert web.state(page) == "pending"
        assert page.evaluate("document.documentElement.lang") == language
        web.press(page)
        web.wait_for_state(page, "confirmed")


def assert_is_harmless_notice(notice: Mail, token: str) -> None:
    """Whoever reads the old address's mails must not get at the new address with it."""
    raw = notice.message.as_string() + notice.text + notice.html
    assert not LINK.search(notice.text)
    assert "/confirm" not in raw and token not in raw
    assert "href" not in notice.html.lower()


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_a_new_address_replaces_a_confirmed_one(tmp_path, database, browser, authority, protection):
    trusted = certificate_file(authority, tmp_path)
    with (
        Mailbox(protection, authority) as mailbox,
        Service(
            tmp_path,
            database,
            SMTP_URL=mailbox.smtp_url,
            SSL_CERT_FILE=trusted,
            RUST_LOG="trace",
        ) as service,
    ):
        contacts = service.start()
        number = contacts.create_customer()
        old, new = unique_address("old"), unique_address("new")
        contact = contacts.create_contact(number, email=old)
        first = mailbox.wait_for(old)
        assert contacts.general_recipients(number) == []
        confirm_in_browser(browser, first.link, "de")
        assert contacts.general_recipients(number) == [old]

        contacts.change_email(contact, new)
        second = mailbox.wait_for(new)
        assert contacts.general_recipients(number) == [old]
        confirm_in_browser(browser, second.link, "en")
        changed = contacts.get(contact)
        assert changed.email == new and not changed.HasField("pending_email")
        assert contacts.general_recipients(number) == [new]

        assert_is_harmless_notice(mailbox.wait_for(old, count=2), second.token)
        until(lambda: database.count("outbox_mails") == 0, "the outbox to be empty")
        assert mailbox.recipients() == sorted([old, old, new])
        assert mailbox.tls_used == {protection != PLAIN}
        assert bool(mailbox.logins) == (protection == STARTTLS_AUTH)
        service.stop()
        for secret in [old, new, first.token, second.token, PASSWORD, quote(PASSWORD)]:
            assert secret not in service.log


@pytest.mark.parametrize("language", ["de", "en"])
def test_mails_are_whole_and_speak_the_language_of_the_contact(
    service, mailbox, browser, screenshots, language
):
    contacts = service.contacts
    address = unique_address()
    contacts.create_contact(contacts.create_customer(), email=address, locale=language)
    mail = mailbox.wait_for(address)
    assert mail.sender == "kontakt@hoster.example"
    assert mail.message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.message.iter_parts()] == [
        "text/plain",
        "text/html",
    ]
    assert mail.link.startswith(f"{service.origin}/confirm#")
    assert mail.link in html.unescape(mail.html)
    assert f'lang="{language}"' in mail.html
    assert mail.message["To"] == address
    # Answers of machines are not wanted (RFC 3834).
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert not mail.message.defects
    # A token in a header would get into the logs of every server on the way.
    assert not any(mail.token in value for value in mail.message.values())
    with web.context_in(browser, language, java_script_enabled=False) as context:
        page, asked = context.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.set_content(mail.html)
        web.screenshot(page, screenshots, f"{language}-mail")
    assert asked == [], "a mail fetches nothing"


def test_without_an_smtp_server_mails_are_files(tmp_path, database, browser):
    with Service(tmp_path, database) as service:
        contacts = service.start()
        contact = contacts.create_contact(contacts.create_customer(), email=unique_address())
        files = until(lambda: list((tmp_path / "data/mail").glob("*.eml")), "a file in data/mail")
        message = email.message_from_bytes(files[0].read_bytes(), policy=email.policy.default)
        mail = Mail("", message["To"], message)
        # Behind the customer number, by which an erasure finds it.
        assert files[0].stem.split("_")[1] in mail.message_id
        confirm_in_browser(browser, mail.link, "de")
        assert contacts.get(contact).email == mail.recipient


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "protection, weakness",
    [(STARTTLS, "stranger"), (SMTPS, "stranger"), (STARTTLS, "no STARTTLS offered")],
)
def test_no_mail_leaves_over_a_connection_that_proves_nothing(
    tmp_path, database, authority, protection, weakness
):
    """The server's certificate is a stranger's, or somebody took the offer of STARTTLS away."""
    trusted = certificate_file(authority, tmp_path)
    actual = PLAIN if weakness == "no STARTTLS offered" else protection
    with Mailbox(actual, trustme.CA()) as mailbox:
        url = mailbox.smtp_url + ("?tls=required" if actual == PLAIN else "")
        with Service(tmp_path, database, SMTP_URL=url, SSL_CERT_FILE=trusted) as service:
            contacts = service.start()
            contacts.create_contact(contacts.create_customer(), email=unique_address())
            until(lambda: database.count("outbox_mails WHERE attempts > 0"), "an attempt")
            until(lambda: "WARN" in service.log, "a warning in the log")
            assert mailbox.recipients() == []
            assert database.count("outbox_mails") == 1


@pytest.mark.parametrize(
    "backend, language", [("sqlite", "de"), ("postgres", "en")], indirect=["backend"]
)
def test_every_state_of_the_page(service, mailbox, browser, screenshots, language):
    contacts = service.contacts
    number = contacts.create_customer()
    contact = contacts.create_contact(number, email=unique_address("first"))
    replaced = mailbox.wait_for(contact.pending_email.email).link
    address = unique_address("second")
    contacts.change_email(contact, address)
    link = mailbox.wait_for(address).link

    for name, dead_link in {
        "superseded": replaced,
        "unknown": link[:-1] + ("0" if link[-1] != "0" else "1"),
        "unknown-empty": f"{service.origin}/confirm",
    }.items():
        with web.opened(browser, dead_link, language) as page:
            assert web.state(page) == name.removesuffix("-empty")
            web.screenshot(page, screenshots, f"{language}-{name}")
    see_loading_to_confirmed(browser, screenshots, link, language, address)
    with web.opened(browser, link, language) as page:
        assert web.state(page) == "already"
        web.screenshot(page, screenshots, f"{language}-already")
    assert contacts.get(contact).email == address
    with web.context_in(browser, language, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(link)
        web.screenshot(page, screenshots, f"{language}-without-script")


def see_loading_to_confirmed(browser, screenshots, link, language, address) -> None:
    """The whole way of a person who looks at the page in the dark and uses the keyboard."""
    held = []
    with web.context_in(browser, language) as context:
        page = context.new_page()
        page.route("**/confirm/inspect", lambda route: held.append(route))
        page.goto(link)
        web.wait_for_state(page, "loading")
        web.screenshot(page, screenshots, f"{language}-loading")
        held[0].continue_()
        assert web.settled(page) == "pending"
        web.screenshot(page, screenshots, f"{language}-pending")
        page.emulate_media(color_scheme="dark")
        web.screenshot(page, screenshots, f"{language}-pending-dark")
        page.emulate_media(color_scheme="light")
        assert page.inner_text("#masked-email") and page.inner_text("#expire-time")
        assert address not in page.content()
        while page.evaluate("document.activeElement.id") != "confirm":
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        web.wait_for_state(page, "confirmed")
        web.screenshot(page, screenshots, f"{language}-confirmed")


@pytest.mark.parametrize(
    "backend, language", [("sqlite", "en"), ("postgres", "de")], indirect=["backend"]
)
def test_a_page_that_outlives_the_service_can_be_tried_again(
    service, mailbox, browser, screenshots, language
):
    contact, link = pending_contact(service.contacts, mailbox)
    with web.opened(browser, link, language) as page:
        service.kill()
        web.press(page)
        web.wait_for_state(page, "unavailable")
        web.screenshot(page, screenshots, f"{language}-unavailable")
        contacts = service.start()
        page.click("#retry")
        # Looking again confirms nothing.
        web.wait_for_state(page, "pending")
        assert contacts.get(contact).HasField("pending_email")
        web.press(page)
        web.wait_for_state(page, "confirmed")


@pytest.mark.parametrize(
    "backend, language", [("sqlite", "de"), ("postgres", "en")], indirect=["backend"]
)
def test_after_seven_days_the_link_is_dead(
    service, mailbox, database, browser, screenshots, language
):
    contact, link = pending_contact(service.contacts, mailbox)
    with web.opened(browser, link, language) as early:
        # The clock cannot be turned, so the times in the database are.
        past = ago(hours=1)
        assert database.execute(f"UPDATE email_confirmations SET expire_time = {past}") == 1
        database.execute(f"UPDATE contacts SET pending_email_expire_time = {past}")
        with web.opened(browser, link, language) as late:
            assert web.state(late) == "expired"
            web.screenshot(late, screenshots, f"{language}-expired")
        # Opened in time, but pressed too late.
        web.press(early)
        web.wait_for_state(early, "expired")
    contacts = service.contacts
    assert contacts.inspect(link.rpartition("#")[2]).state == EXPIRED
    with pytest.raises(grpc.RpcError) as refusal:
        contacts.resend(contact)
    assert refusal.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    now = contacts.get(contact)
    assert not now.email and not now.HasField("pending_email")


def pending_contact(contacts: Contacts, mailbox: Mailbox):
    """A contact whose first address waits, and the link that was mailed to it."""
    address = unique_address()
    contact = contacts.create_contact(contacts.create_customer(), email=address)
    return contact, mailbox.wait_for(address).link
