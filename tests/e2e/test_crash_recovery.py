"""SIGKILL at any point between a change and its e-mail, followed by a restart.

Every e-mail of a committed change is sent, none of a rolled back change is, and an e-mail is sent
twice only if the process died between the server's 250 and its own note of it.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass

import pytest

from support import report
from support.contacts import PENDING, Contacts, change_of, unique_address
from support.database import Database, ago
from support.mailbox import Mailbox
from support.polling import until
from support.service import Service

ROUNDS = int(os.environ.get("E2E_ROUNDS", "2"))

# Longer than an e-mail takes: the kill comes before, during, or after it.
ANY_MOMENT_SECONDS = 0.15


@dataclass(frozen=True)
class KillScenario:
    """A point at which the process dies, and the expected result."""

    # The service halts at a fail point,
    failpoint: str = ""
    # or waits for the SMTP server's reply,
    smtp_command: str = ""
    # or neither: it is killed at a random moment.

    # The claim counts of the rows that the kill leaves in the outbox.
    claims: tuple[int, ...] = (1,)
    # The number of e-mails received in the end.
    mails: int = 1


SCENARIOS = {
    "change written": KillScenario("change-written", claims=(), mails=0),
    "mail claiming": KillScenario("mail-claiming", claims=(0,)),
    "mail claimed": KillScenario("mail-claimed"),
    "mail prepared": KillScenario("mail-prepared"),
    "SMTP EHLO": KillScenario(smtp_command="EHLO"),
    "SMTP MAIL": KillScenario(smtp_command="MAIL"),
    "SMTP RCPT": KillScenario(smtp_command="RCPT"),
    "SMTP DATA": KillScenario(smtp_command="DATA"),
    "mail accepted": KillScenario("mail-accepted", mails=2),
    "mail marked": KillScenario("mail-marked", claims=()),
    "any moment": KillScenario(),
}


@dataclass
class Counts:
    """The results of the rounds."""

    changes: int = 0
    committed: int = 0
    mails: int = 0
    duplicates: int = 0
    lost: int = 0
    of_no_change: int = 0


class Setup:
    """A service with one contact whose address changes in every round."""

    def __init__(self, service: Service, database: Database, mailbox: Mailbox) -> None:
        self.service = service
        self.database = database
        self.mailbox = mailbox
        contacts = service.start()
        self.contact = contacts.create_contact(contacts.create_customer())

    def kill_at(self, point: KillScenario, address: str) -> None:
        """Enters an address and kills the process when it reaches the point."""
        change = change_of(self.contact, address)
        if point.failpoint:
            self.service.kill()
            contacts = self.service.start(FAILPOINTS=f"{point.failpoint}=return")
            call = contacts.start("ChangeEmail", change)
            self.service.wait_for_log(f"halted at {point.failpoint}")
            if point.failpoint != "change-written":
                call.result()
        elif point.smtp_command:
            self.mailbox.hold_at(point.smtp_command)
            self.service.contacts.call("ChangeEmail", change)
            self.mailbox.wait_until_held()
        else:
            self.service.contacts.start("ChangeEmail", change)
            time.sleep(random.uniform(0, ANY_MOMENT_SECONDS))
        self.service.kill()

    def recover(self) -> Contacts:
        """Restarts the service and waits until all e-mails are sent."""
        # Simulates the minute for which a killed process keeps its lease.
        self.database.execute(f"UPDATE outbox_mails SET due_time = {ago(days=1)}")
        contacts = self.service.start()
        until(lambda: self.database.count("outbox_mails") == 0, "the outbox to be empty")
        return contacts


def play_round(setup: Setup, name: str, counts: Counts) -> None:
    point, address = SCENARIOS[name], unique_address("kill")
    at_any_moment = not (point.failpoint or point.smtp_command)
    before = setup.service.contacts.get(setup.contact)
    setup.kill_at(point, address)
    if not at_any_moment:
        claims = setup.database.rows("SELECT attempts FROM outbox_mails")
        assert tuple(row[0] for row in claims) == point.claims
    contacts = setup.recover()

    after = contacts.get(setup.contact)
    mails = setup.mailbox.mails_to(address)
    committed = after.pending_email.email == address
    counts.changes += 1
    counts.committed += committed
    counts.mails += len(mails)
    counts.duplicates += max(0, len(mails) - 1)
    counts.lost += committed and not mails
    counts.of_no_change += len(mails) if not committed else 0
    assert committed or after == before, "a change that was rolled back changed something"
    assert len({mail.message_id for mail in mails}) <= 1, "a duplicate with an id of its own"
    for mail in mails:
        assert contacts.inspect(mail.token).state == PENDING, "a link that does not work"
    if not at_any_moment:
        assert committed == (point.mails > 0)
        assert len(mails) == point.mails


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at(tmp_path, database, backend, mailbox, name):
    counts = Counts()
    with Service(tmp_path, database, SMTP_URL=mailbox.smtp_url) as service:
        setup = Setup(service, database, mailbox)
        try:
            for _ in range(ROUNDS):
                play_round(setup, name, counts)
        finally:
            report.add("kill points", killed_at=name, database=backend, **vars(counts))
        assert counts.lost == 0 and counts.of_no_change == 0
        assert len(mailbox.recipients()) == counts.mails, "e-mails to other recipients"
        service.stop()
