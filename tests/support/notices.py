"""Runs the examples that mail a notice to all customers, and reads what they leave."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from contact.v1 import recipients_pb2

from .contacts import Contacts
from .polling import TIMEOUT_SECONDS
from .processes import environment
from .service import Service

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SENDER = "Hoster <security@hoster.example>"
BOUNCE_ADDRESS = "bounces@hoster.example"
COLUMNS = ["customer_number", "types", "display_name", "locale", "email"]


class Notice:
    """The notice of one service, sent to one SMTP server."""

    def __init__(self, service: Service, smtp_url: str) -> None:
        self.service = service
        self.journal = service.folder / "notice.jsonl"
        self._smtp = urlsplit(smtp_url)
        scopes = "recipients.resolve_all deliveries.report"
        self._token = service.run("token", "--sub", "notices", "--scope", scopes)

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Starts to send the notice."""
        smtp = [f"--smtp-host={self._smtp.hostname}", f"--smtp-port={self._smtp.port}"]
        mail = [f"--sender={SENDER}", f"--bounce-address={BOUNCE_ADDRESS}"]
        journal = f"--journal={self.journal}"
        return self._start("urgent_notice.py", journal, *smtp, *mail, *options)

    def send(self, *options: str) -> tuple[int, str]:
        """Sends the notice; returns the exit code and the output."""
        return _finish(self.start(*options))

    def report_outcomes(self, *options: str) -> tuple[int, str]:
        """Reports rejections, or bounces; returns the exit code and the output."""
        return _finish(self._start("notice_outcomes.py", str(self.journal), *options))

    def entries(self) -> list[dict]:
        """Returns the lines of the journal."""
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def _start(self, example: str, *options: str) -> subprocess.Popen[str]:
        settings = {
            "CONTACT_SERVICE_TOKEN": self._token,
            "PYTHONPATH": os.environ["PYTHONPATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        target = f"--target={self.service.grpc_address}"
        return subprocess.Popen(
            [sys.executable, EXAMPLES / example, target, *options],
            cwd=self.service.folder,
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    return process.returncode, output


def import_technical(service: Service, rows: Iterable[tuple[str, str, str]]) -> None:
    """Imports a confirmed TECHNICAL contact for each customer number, language and address."""
    path = service.folder / "contacts.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, locale, email in rows:
            writer.writerow([number, "STANDARD,TECHNICAL", "Anna Schmidt", locale, email])
    service.run("import", str(path), "--create-customers", "--emails-confirmed")


def security_notice(contacts: Contacts, customer_number: str) -> recipients_pb2.Resolution:
    """Resolves the recipients of security notices."""
    request = recipients_pb2.ResolveRecipientsRequest(
        customer_number=customer_number, purpose=recipients_pb2.PURPOSE_SECURITY_NOTICE
    )
    return contacts.call("ResolveRecipients", request).resolution


def is_excluded_as_bounced(contacts: Contacts, customer_number: str) -> bool:
    """Returns true if the customer has no recipient because its address bounced."""
    resolution = security_notice(contacts, customer_number)
    reasons = {exclusion.reason for exclusion in resolution.exclusions}
    bounced = recipients_pb2.EXCLUSION_REASON_EMAIL_BOUNCED
    return not resolution.recipients and bounced in reasons
