"""The example urgent_notice.py: one mail per address and language, each handed over once."""

from __future__ import annotations

import signal
import uuid
from pathlib import Path

import pytest

from support.database import Database
from support.mailbox import Mailbox
from support.notices import (
    Notice,
    import_technical,
    is_excluded_as_bounced,
    security_notice,
)
from support.polling import until
from support.service import Service
from support.sink import HARD, SOFT, Sink

SHARED = "noc@agentur.example"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_each_address_gets_one_mail_per_language(service: Service, mailbox: Mailbox):
    rows = [("K-1", "de", SHARED), ("K-2", "de", SHARED.upper()), ("K-3", "en", SHARED)]
    import_technical(service, [*rows, ("K-4", "de", "")])
    notice = Notice(service, mailbox.smtp_url)

    code, output = notice.send("--dry-run")
    assert code == 0, output
    assert sorted(output.splitlines()) == [
        "  K-4: no recipient",
        "4 customers, 2 mails",
        f"{SHARED}\tde\tK-1;K-2",
        f"{SHARED}\ten\tK-3",
    ]
    assert not mailbox.recipients() and not notice.journal.exists()

    code, output = notice.send()
    assert code == 0 and "2 handed over, 0 before, 0 rejected, 0 deferred" in output, output
    german, english = mailbox.mails_to(SHARED)
    assert "K-1\nK-2\n" in german.text and "K-3" not in german.text
    assert german.message["Subject"].startswith("Sicherheitshinweis")
    assert "customer numbers:\nK-3\n" in english.text
    contact_id = security_notice(service.contacts, "K-1").recipients[0].contact_id
    assert german.message["X-Customer-Number"] == "K-1"
    assert german.message["X-Contact-Id"] == contact_id
    assert german.sender == f"bounces+K-1={uuid.UUID(contact_id).hex}@hoster.example"
    assert german.message["Auto-Submitted"] == "auto-generated"

    # Again only on request, and then without those that were handed over.
    code, output = notice.send()
    assert code == 1 and "exists: continue with --resume" in output
    code, output = notice.send("--resume")
    assert code == 0 and "0 handed over, 2 before" in output, output
    assert len(mailbox.recipients()) == 2


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_killed_notice_is_resumed_without_second_mails(service: Service, mailbox: Mailbox):
    emails = sorted(f"noc-{index:03}@muster.example" for index in range(300))
    numbered = enumerate(emails)
    import_technical(service, ((f"K-{index:03}", "de", email) for index, email in numbered))
    notice = Notice(service, mailbox.smtp_url)
    process = notice.start()
    until(lambda: len(mailbox.recipients()) > 5, "some mails")
    # The next one is in flight when the process is killed.
    mailbox.hold_at("DATA")
    mailbox.wait_until_held()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = len(mailbox.recipients())
    assert 5 < before < 300
    # As if the kill had cut off a line while it was written.
    with notice.journal.open("a") as file:
        file.write('{"email": "noc-299@mus')
    code, output = notice.send("--resume")
    assert code == 0 and f"{300 - before} handed over, {before} before" in output, output
    assert mailbox.recipients() == emails


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_rejections_mark_the_address_for_all_customers(tmp_path: Path, database: Database):
    hard, soft = f"{HARD}noc@agentur.example", f"{SOFT}noc@agentur.example"
    with Sink(tmp_path) as sink, Service(tmp_path, database, SMTP_URL=sink.smtp_urls[0]) as service:
        contacts = service.start()
        import_technical(
            service,
            [("K-1", "de", hard), ("K-2", "en", hard), ("K-3", "de", soft), ("K-4", "de", SHARED)],
        )
        notice = Notice(service, sink.smtp_urls[0])
        code, output = notice.send()
        assert code == 1 and "1 handed over, 0 before, 2 rejected, 1 deferred" in output, output
        assert [(entry["email"], entry["status"]) for entry in notice.entries()] == [
            (hard, "FAILED_PERMANENTLY"),
            (hard, "FAILED_PERMANENTLY"),
            (soft, "FAILED_TEMPORARILY"),
            (SHARED, "HANDED_OVER"),
        ]
        assert notice.report_outcomes() == (0, "2 reports\n  MARKED: 2\n")
        assert is_excluded_as_bounced(contacts, "K-1")
        assert is_excluded_as_bounced(contacts, "K-2")
        assert security_notice(contacts, "K-3").recipients
        # Marked addresses are no recipients any more; the deferred mail is attempted again.
        code, output = notice.send("--resume")
        assert code == 1 and "0 handed over, 1 before, 0 rejected, 1 deferred" in output, output
