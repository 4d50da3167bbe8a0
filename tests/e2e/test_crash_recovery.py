"""The service is killed anywhere between a change and its mail (SIGKILL), and started again.

Every mail of a committed change leaves, none of a change that was rolled back does, and a mail
leaves twice only where the process died between the server's 250 and its own note of it.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass

import pytest

from harness import report
from harness.contacts import PENDING, Contacts, change_of, unique_address
from harness.database import Database, ago
from harness.mailbox import Mailbox
from harness.polling import until
from harness.service import Service

ROUNDS = int(os.environ.get("E2E_ROUNDS", "2"))

# Longer than a mail takes: the kill comes before, in between, or after.
ANY_MOMENT_SECONDS = 0.15


@dataclass(frozen=True)
class KillPoint:
    """Where the process dies, and what that has to come to."""

    # The service halts by itself at a fail point,
    fail_point: str = ""
    # or waits for the SMTP server's answer,
    smtp_command: str = ""
    # or neither: it is killed at a random moment.

    # How often each row was claimed that the kill leaves in the outbox.
    claims: tuple[int, ...] = (1,)
    # Mails received in the end.
    mails: int = 1


KILL_POINTS = {
    "change written": KillPoint("change-written", claims=(), mails=0),
    "mail claiming": KillPoint("mail-claiming", claims=(0,)),
    "mail claimed": KillPoint("mail-claimed"),
    "mail prepared": KillPoint("mail-prepared"),
    "SMTP EHLO": KillPoint(smtp_command="EHLO"),
    "SMTP MAIL": KillPoint(smtp_command="MAIL"),
    "SMTP RCPT": KillPoint(smtp_command="RCPT"),
    "SMTP DATA": KillPoint(smtp_command="DATA"),
    "mail accepted": KillPoint("mail-accepted", mails=2),
    "mail marked": KillPoint("mail-marked", claims=()),
    "any moment": KillPoint(),
}


@dataclass
class Counts:
    """What the rounds came to."""

    changes: int = 0
    committed: int = 0
    mails: int = 0
    duplicates: int = 0
    lost: int = 0
    of_no_change: int = 0


class Rig:
    """A service with one contact, whose address changes in every round."""

    def __init__(self, service: Service, database: Database, mailbox: Mailbox) -> None:
        self.service = service
        self.database = database
        self.mailbox = mailbox
        contacts = service.start()
        self.contact = contacts.create_contact(contacts.create_customer())

    def kill_at(self, point: KillPoint, address: str) -> None:
        """Enters an address and kills the process when it gets to the point."""
        change = change_of(self.contact, address)
        if point.fail_point:
            self.service.kill()
            contacts = self.service.start(FAILPOINTS=f"{point.fail_point}=return")
            call = contacts.start("ChangeEmail", change)
            self.service.wait_for_log(f"halted at {point.fail_point}")
            if point.fail_point != "change-written":
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
        """Starts again and waits until all mails have left."""
        # As if the minute had passed for which a killed process keeps its rows.
        self.database.execute(f"UPDATE outbox_mails SET due_time = {ago(days=1)}")
        contacts = self.service.start()
        until(lambda: self.database.count("outbox_mails") == 0, "the outbox to be empty")
        return contacts


def play_round(rig: Rig, name: str, counts: Counts) -> None:
    point, address = KILL_POINTS[name], unique_address("kill")
    at_any_moment = not (point.fail_point or point.smtp_command)
    before = rig.service.contacts.get(rig.contact)
    rig.kill_at(point, address)
    if not at_any_moment:
        claims = rig.database.rows("SELECT attempts FROM outbox_mails")
        assert tuple(row[0] for row in claims) == point.claims
    contacts = rig.recover()

    after = contacts.get(rig.contact)
    mails = rig.mailbox.mails_to(address)
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


@pytest.mark.parametrize("name", KILL_POINTS)
def test_killed_at(tmp_path, database, backend, mailbox, name):
    counts = Counts()
    with Service(tmp_path, database, SMTP_URL=mailbox.smtp_url) as service:
        rig = Rig(service, database, mailbox)
        try:
            for _ in range(ROUNDS):
                play_round(rig, name, counts)
        finally:
            report.add("kill points", killed_at=name, database=backend, **vars(counts))
        assert counts.lost == 0 and counts.of_no_change == 0
        assert len(mailbox.recipients()) == counts.mails, "mails to somebody else"
        service.stop()
