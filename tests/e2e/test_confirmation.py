"""Rules 5 to 10 as people experience them: an e-mail, its link, the page, and the result."""

from __future__ import annotations

import email
import email.policy
import html
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest
import trustme

from support import browser as web
from support.contacts import EXPIRED, Contacts, unique_address
from support.database import ago
from support.mailbox import (
    LINK,
    OFFERED,
    PASSWORD,
    PLAIN,
    PROTECTIONS,
    SMTPS,
    STARTTLS,
    STARTTLS_AUTH,
    Mail,
    Mailbox,
)
from support.polling import until
from support.processes import free_port
from support.service import Service


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
    """Readers of the old address's mail must not learn the new address from it."""
    raw = notice.message.as_string() + notice.text + notice.html
    assert not LINK.search(notice.text)
    assert "/confirm" not in raw and token not in raw
    assert "href" not in notice.html.lower()


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_new_address_replaces_a_confirmed_one(tmp_path, database, browser, authority, protection):
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
def test_emails_are_complete_and_in_the_contact_language(
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
    # No automatic replies (RFC 3834).
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["X-Auto-Response-Suppress"] == "All"
    assert not mail.message.defects
    # A token in a header would appear in the logs of every server on the way.
    assert not any(mail.token in value for value in mail.message.values())
    with web.context_in(browser, language, java_script_enabled=False) as context:
        page, requested = context.new_page(), []
        page.on("request", lambda request: requested.append(request.url))
        page.set_content(mail.html)
        web.screenshot(page, screenshots, f"{language}-mail")
    assert requested == [], "a mail fetches nothing"


def test_emails_are_files_without_an_smtp_server(tmp_path, database, browser):
    with Service(tmp_path, database) as service:
        contacts = service.start()
        contact = contacts.create_contact(contacts.create_customer(), email=unique_address())
        files = until(lambda: list((tmp_path / "data/mail").glob("*.eml")), "a file in data/mail")
        message = email.message_from_bytes(files[0].read_bytes(), policy=email.policy.default)
        mail = Mail("", message["To"], message)
        # After the customer number, by which an erasure finds it.
        assert files[0].stem.split("_")[1] in mail.message_id
        confirm_in_browser(browser, mail.link, "de")
        assert contacts.get(contact).email == mail.recipient


@dataclass(frozen=True)
class SelfSigned:
    """As many servers have it: a self-signed certificate."""

    authority: trustme.CA

    def configure_cert(self, context: ssl.SSLContext) -> None:
        with self.authority.cert_pem.tempfile() as chain:
            with self.authority.private_key_pem.tempfile() as key:
                context.load_cert_chain(chain, key)


LAST_YEAR = datetime.now(timezone.utc) - timedelta(days=365)
WEAKNESSES = {
    "stranger": "TLS: certificate not trusted",
    "self-signed": "TLS: certificate not trusted",
    "expired": "TLS: certificate expired",
    "other name": "TLS: certificate is for another name",
    "no STARTTLS": "TLS: STARTTLS is not offered",
    "no TLS": "TLS: the server does not speak TLS here",
}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "protection, weakness",
    [
        (OFFERED, "stranger"),
        (STARTTLS, "stranger"),
        (SMTPS, "stranger"),
        (OFFERED, "self-signed"),
        (STARTTLS, "expired"),
        (SMTPS, "other name"),
        (STARTTLS, "no STARTTLS"),
        (SMTPS, "no TLS"),
    ],
)
def test_no_email_is_sent_over_unverified_connections(
    tmp_path, database, authority, protection, weakness
):
    """The certificate is not trusted, or STARTTLS is not offered."""
    trusted = certificate_file(authority, tmp_path)
    certificate = {
        "stranger": lambda: trustme.CA().issue_cert("127.0.0.1"),
        "self-signed": lambda: SelfSigned(trustme.CA()),
        "expired": lambda: authority.issue_cert("127.0.0.1", not_after=LAST_YEAR),
        "other name": lambda: authority.issue_cert("other.example"),
    }.get(weakness, lambda: None)()
    with Mailbox(protection if certificate else PLAIN, certificate=certificate) as mailbox:
        url = mailbox.url(protection)
        with Service(tmp_path, database, SMTP_URL=url, SSL_CERT_FILE=trusted) as service:
            contacts = service.start()
            contacts.create_contact(contacts.create_customer(), email=unique_address())
            failed = "outbox_mails WHERE failure IS NOT NULL"
            until(lambda: database.count(failed), "a failed attempt")
            [(state, failure)] = database.rows("SELECT state, failure FROM outbox_mails")
            assert (state, failure) == ("queued", WEAKNESSES[weakness])
            server = url.split("/")[2].split("?")[0]
            until(lambda: failure in service.log and server in service.log, "a line in the log")
            assert mailbox.recipients() == []


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_dns_and_connection_failures_are_named(tmp_path, database):
    for url, failure in [
        ("smtp://no-such-host.invalid", "DNS: host not found"),
        (f"smtp://127.0.0.1:{free_port()}", "connection refused at connect"),
    ]:
        with Service(tmp_path, database, SMTP_URL=url) as service:
            contacts = service.start()
            contacts.create_contact(contacts.create_customer(), email=unique_address())
            until(lambda: failure in service.log, f"{failure!r} in the log", seconds=40)
            assert database.count(f"outbox_mails WHERE failure = '{failure}'") > 0


# Damage that mail programs, trackers and people do to a link.
DAMAGES = {
    "slash": lambda origin, token: f"{origin}/confirm/#{token}",
    "double slash": lambda origin, token: f"{origin}//confirm#{token}",
    "capital": lambda origin, token: f"{origin}/Confirm#{token}",
    "parameters before": lambda origin, token: f"{origin}/confirm?utm_source=x#{token}",
    "parameters after": lambda origin, token: f"{origin}/confirm#{token}&utm_source=x",
    "encoded hash": lambda origin, token: f"{origin}/confirm%23{token}",
    "encoded twice": lambda origin, token: f"{origin}/confirm%2523{token}",
    "encoded hash after parameters": lambda origin, token: f"{origin}/confirm?a=b%23{token}",
    "full stop": lambda origin, token: f"{origin}/confirm#{token}.",
    "angle bracket": lambda origin, token: f"{origin}/confirm#{token}>",
    "encoded bracket": lambda origin, token: f"{origin}/confirm#{token}%3E),",
    "quotes": lambda origin, token: f"{origin}/confirm#\u201e{token}\u201c",
    "blanks": lambda origin, token: f"{origin}/confirm#%20{token}%20",
    "broken line": lambda origin, token: f"{origin}/confirm#{token[:30]}%0D%0A{token[30:]}",
    "soft hyphen": lambda origin, token: f"{origin}/confirm#{token[:30]}\u00ad{token[30:]}",
    "named": lambda origin, token: f"{origin}/confirm#token={token}",
}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_damaged_link_still_confirms(service, mailbox, browser):
    contacts = service.contacts
    contact, link = pending_contact(contacts, mailbox)
    token = link.rpartition("#")[2]
    for name, damage in DAMAGES.items():
        with web.opened(browser, damage(service.origin, token)) as page:
            assert web.state(page) == "pending", name
            assert page.url.partition("#")[0].partition("?")[0] in {
                f"{service.origin}/confirm",
                f"{service.origin}//confirm",
            }, name
        # Opening the page confirms nothing.
        assert contacts.get(contact).HasField("pending_email"), name
    confirm_in_browser(browser, DAMAGES["encoded hash"](service.origin, token), "de")
    assert not contacts.get(contact).HasField("pending_email")
    assert token not in service.log


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
    check_loading_to_confirmed(browser, screenshots, link, language, address)
    with web.opened(browser, link, language) as page:
        assert web.state(page) == "already"
        web.screenshot(page, screenshots, f"{language}-already")
    assert contacts.get(contact).email == address
    with web.context_in(browser, language, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(link)
        web.screenshot(page, screenshots, f"{language}-without-script")


def check_loading_to_confirmed(browser, screenshots, link, language, address) -> None:
    """The complete flow with a dark color scheme and the keyboard."""
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
def test_page_can_be_retried_after_a_service_restart(
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
        # Another look confirms nothing.
        web.wait_for_state(page, "pending")
        assert contacts.get(contact).HasField("pending_email")
        web.press(page)
        web.wait_for_state(page, "confirmed")


@pytest.mark.parametrize(
    "backend, language", [("sqlite", "de"), ("postgres", "en")], indirect=["backend"]
)
def test_link_expires_after_seven_days(
    service, mailbox, database, browser, screenshots, language
):
    contact, link = pending_contact(service.contacts, mailbox)
    with web.opened(browser, link, language) as early:
        # The clock cannot be moved, so the times in the database are.
        past = ago(hours=1)
        assert database.execute(f"UPDATE email_confirmations SET expire_time = {past}") == 1
        database.execute(f"UPDATE contacts SET pending_email_expire_time = {past}")
        with web.opened(browser, link, language) as late:
            assert web.state(late) == "expired"
            web.screenshot(late, screenshots, f"{language}-expired")
        # Opened in time, but confirmed too late.
        web.press(early)
        web.wait_for_state(early, "expired")
    contacts = service.contacts
    assert contacts.inspect(link.rpartition("#")[2]).state == EXPIRED
    with pytest.raises(grpc.RpcError) as rejection:
        contacts.resend(contact)
    assert rejection.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    now = contacts.get(contact)
    assert not now.email and not now.HasField("pending_email")


def pending_contact(contacts: Contacts, mailbox: Mailbox):
    """Returns a contact whose first address is pending, and the link sent to it."""
    address = unique_address()
    contact = contacts.create_contact(contacts.create_customer(), email=address)
    return contact, mailbox.wait_for(address).link
