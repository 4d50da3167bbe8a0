"""A real Postfix: only its unknown mailbox marks an address, everything else is retried (rule 32).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.contacts import Contacts
from support.database import Database
from support.polling import until
from support.postfix import (
    DELIVERS,
    DOMAIN,
    FOREIGN_DOMAIN,
    GREYLISTS,
    KNOWN,
    REJECTS_CLIENT,
    REJECTS_SENDER,
    Postfix,
)
from support.service import Service


@pytest.fixture(scope="module")
def postfix():
    with Postfix() as postfix:
        yield postfix


def rejections(service: Service) -> dict[str, float]:
    """Returns the number of rejected attempts by class, without those that are 0."""
    _, metrics = service.monitoring("/metrics")
    begin = 'contact_mail_rejections_total{class="'
    lines = [line for line in metrics.splitlines() if line.startswith(begin)]
    assert lines, "the metric is gone"
    counts = {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}
    return {name: count for name, count in counts.items() if count}


def enter_confirmed(contacts: Contacts, database: Database, email: str):
    """Returns a contact with this address confirmed, and another one with an e-mail to it due."""
    number = contacts.create_customer()
    confirmed = contacts.create_contact(number, name="Berta")
    changed = database.execute(
        f"UPDATE contacts SET email = '{email}', email_key = '{email}' "
        f"WHERE customer_number = '{number}'"
    )
    assert changed == 1
    return confirmed, contacts.create_contact(number, name="Carla", email=email)


# Databases differ little here, and each retry takes 10 s.
@pytest.mark.parametrize(
    "backend, port, email, failure, rejected_as, attempts",
    [
        ("sqlite", REJECTS_CLIENT, KNOWN, "SMTP 554 5.7.1 at RCPT", "policy", 1),
        ("postgres", REJECTS_SENDER, KNOWN, "SMTP 550 5.1.8 at RCPT", "sender", 1),
        ("sqlite", DELIVERS, f"anna@{FOREIGN_DOMAIN}", "SMTP 554 5.7.1 at RCPT", "policy", 2),
    ],
    ids=["client", "sender", "relay"],
    indirect=["backend"],
)
def test_policy_rejection_marks_no_address(
    tmp_path: Path, database, postfix, port, email, failure, rejected_as, attempts
):
    with Service(tmp_path, database, SMTP_URL=postfix.smtp_url(port)) as service:
        contacts = service.start()
        confirmed, entered = enter_confirmed(contacts, database, email)
        until(lambda: rejections(service).get(rejected_as, 0) >= attempts, "a rejection")
        until(lambda: database.count("outbox_mails WHERE failure IS NOT NULL"), "its record")
        assert set(rejections(service)) == {rejected_as}
        assert not contacts.get(confirmed).HasField("email_bounce_time")
        assert not contacts.get(entered).pending_email.HasField("bounce_time")
        assert contacts.general_recipients(confirmed.customer_number) == [email]
        rows = database.rows("SELECT state, failure FROM outbox_mails")
        assert [tuple(row) for row in rows] == [("queued", failure)]
        port_number = postfix.smtp_url(port).rpartition(":")[2]
        assert failure in service.log and f"127.0.0.1:{port_number}" in service.log
        assert email not in service.log


def test_unknown_mailbox_is_marked(tmp_path: Path, database, postfix):
    email = f"unbekannt@{DOMAIN}"
    with Service(tmp_path, database, SMTP_URL=postfix.smtp_url(DELIVERS)) as service:
        contacts = service.start()
        confirmed, entered = enter_confirmed(contacts, database, email)
        until(lambda: contacts.get(confirmed).HasField("email_bounce_time"), "a mark")
        assert contacts.get(entered).pending_email.HasField("bounce_time")
        assert rejections(service) == {"mailbox": 1}
        rows = database.rows("SELECT state, failure FROM outbox_mails")
        assert [tuple(row) for row in rows] == [("dead", "SMTP 550 5.1.1 at RCPT")]


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_greylisted_email_is_delivered_once(tmp_path: Path, database, postfix):
    before = postfix.delivered(KNOWN)
    postfix.greylist.attempted.clear()
    with Service(tmp_path, database, SMTP_URL=postfix.smtp_url(GREYLISTS)) as service:
        contacts = service.start()
        contact = contacts.create_contact(contacts.create_customer(), email=KNOWN)
        until(lambda: postfix.delivered(KNOWN) > before, "the mail")
        until(lambda: database.count("outbox_mails") == 0, "the outbox to be empty")
        assert postfix.delivered(KNOWN) == before + 1
        assert rejections(service) == {"temporary": 1}
        assert not contacts.get(contact).pending_email.HasField("bounce_time")
