"""Bounces of a real Postfix mark the address for all customers of the mail (rule 32)."""

from __future__ import annotations

import csv
import smtplib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.database import Database
from support.notices import (
    BOUNCE_ADDRESS,
    Notice,
    import_technical,
    is_excluded_as_bounced,
    security_notice,
)
from support.polling import until
from support.postfix import DELIVERS, DOMAIN, FOREIGN_DOMAIN, KNOWN, REJECTS_CLIENT, Postfix
from support.relay import Relay
from support.service import Service

UNKNOWN = f"unbekannt@{DOMAIN}"
BLOCKED = f"anna@{FOREIGN_DOMAIN}"


@pytest.fixture
def mx():
    with Postfix() as mx:
        yield mx


@pytest.fixture
def relay(mx: Postfix):
    routes = {DOMAIN: mx.port(DELIVERS), FOREIGN_DOMAIN: mx.port(REJECTS_CLIENT)}
    with Relay(routes) as relay:
        yield relay


def send_without_customer(relay: Relay) -> None:
    """Sends a mail whose bounce names no customer."""
    parts = urlsplit(relay.url)
    with smtplib.SMTP(parts.hostname, parts.port) as smtp:
        smtp.sendmail(BOUNCE_ADDRESS, [UNKNOWN], "Subject: Newsletter\n\nNews.\n")


def report_bounces(service: Service, maildir: Path, output: Path) -> list[dict[str, str]]:
    """Runs the command and returns its rows in the order of the addresses and customers."""
    address = f"--bounce-address={BOUNCE_ADDRESS}"
    service.run("report-bounces", str(maildir), address, "--sent=3", f"--output={output}")
    with output.open(newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: (row["email"], row["customer_number"]))


def test_bounce_marks_the_address_of_all_customers(
    tmp_path: Path, database: Database, mx: Postfix, relay: Relay
):
    with Service(tmp_path, database, SMTP_URL=relay.url) as service:
        contacts = service.start()
        rows = [("K-1", UNKNOWN), ("K-2", UNKNOWN), ("K-3", BLOCKED), ("K-4", KNOWN)]
        import_technical(service, ((number, "de", email) for number, email in rows))
        notice = Notice(service, relay.url)
        code, output = notice.send()
        # The relay accepts all of them: only their bounces say more.
        assert code == 0 and "3 handed over" in output, output
        until(lambda: mx.delivered(KNOWN) == 1, "the mail to the known mailbox")
        send_without_customer(relay)

        bounces = tmp_path / "bounces.csv"
        maildir = relay.bounces(3, tmp_path)
        unattributed, blocked, marked = report_bounces(service, maildir, bounces)
        assert [unattributed["customer_number"], unattributed["email"]] == ["", ""]
        assert unattributed["result"] == "NOT_ATTRIBUTED"
        assert [blocked["customer_number"], blocked["email"]] == ["K-3", BLOCKED]
        assert blocked["enhanced_status_code"] == "5.7.1"
        assert blocked["result"] == "IGNORED_NOT_MAILBOX"
        assert [marked["customer_number"], marked["email"]] == ["K-1", UNKNOWN]
        assert marked["enhanced_status_code"] == "5.1.1"
        assert marked["result"] == "MARKED"
        assert is_excluded_as_bounced(contacts, "K-1")
        assert security_notice(contacts, "K-2").recipients

        # The bounce names the first customer of the mail; the journal has the others.
        code, output = notice.report_outcomes(f"--bounces={bounces}")
        assert code == 0 and "1 reports\n  MARKED: 1\n" in output, output
        assert is_excluded_as_bounced(contacts, "K-2")
        for number, email in rows[2:]:
            recipients = security_notice(contacts, number).recipients
            assert [recipient.email for recipient in recipients] == [email]
