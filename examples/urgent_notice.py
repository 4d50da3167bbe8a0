#!/usr/bin/env python3
"""Mails a security notice to the recipients of all customers.

    pip install -r python/requirements.txt && python/generate.sh
    export CONTACT_SERVICE_TOKEN="$(contact-service token --sub notices --ttl 8h \\
        --scope recipients.resolve_all)"
    ./urgent_notice.py --dry-run
    ./urgent_notice.py --journal notice.jsonl --sender "Hoster <security@hoster.example>" \\
        --bounce-address bounces@hoster.example --smtp-host 127.0.0.1 --smtp-port 25

Each address gets one mail per language, with the numbers of all customers it is written to for. The
journal has every mail that was handed over: an interrupted run continues with the same arguments and
--resume, and mails no address twice, except one whose mail was in flight. Mails that the server
rejected are attempted again.

The envelope sender and the headers of a mail name one customer, so that its bounce can be attributed;
the journal names the others. `notice_outcomes.py` reports bounces and rejections for all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import email.utils
import fcntl
import hashlib
import json
import os
import re
import smtplib
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from email.message import EmailMessage
from pathlib import Path

import grpc
from recipient_streams import CHANNEL_OPTIONS, Stopped, Walk, reason_of

# After recipient_streams, which finds the generated stubs.
from contact.v1 import contact_service_pb2_grpc, recipients_pb2

# The texts of the notice, by language: write your own.
TEXTS = {
    "de": (
        "Sicherheitshinweis zu Ihren Verträgen",
        """Guten Tag,

wir haben eine Sicherheitslücke geschlossen, die Ihre Produkte betrifft.
Bitte ändern Sie die Passwörter Ihrer Datenbanken.

Diese Nachricht betrifft folgende Kundennummern:
{numbers}

Mit freundlichen Grüßen
Ihr Hoster
""",
    ),
    "en": (
        "Security notice about your contracts",
        """Hello,

we have closed a vulnerability that affects your products.
Please change the passwords of your databases.

This message concerns these customer numbers:
{numbers}

Kind regards
Your hoster
""",
    ),
}

HANDED_OVER, FAILED, DEFERRED = "HANDED_OVER", "FAILED_PERMANENTLY", "FAILED_TEMPORARILY"
# A server that rejects this many mails in a row rejects the sender and not the addresses.
MAX_FAILURES_IN_A_ROW = 10
SMTP_TIMEOUT_SECONDS = 60
LONGEST_LOCAL_PART = 64  # RFC 5321, 4.5.3.1.1
ENHANCED_STATUS_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")


@dataclass(frozen=True)
class Party:
    """The customer that is written to, and its contact; an empty contact_id is its contact data."""

    customer_number: str
    contact_id: str


@dataclass
class Notice:
    """One mail."""

    email: str
    locale: str
    parties: list[Party] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        # Addresses are compared without case.
        return self.email.lower(), self.locale

    def customer_numbers(self) -> list[str]:
        return list(dict.fromkeys(party.customer_number for party in self.parties))

    def envelope_sender(self, bounce_address: str) -> str:
        """Returns an address that names the customer, and its contact if there is space."""
        local, _, domain = bounce_address.rpartition("@")
        first = self.parties[0]
        sender = f"{local}+{first.customer_number}"
        if first.contact_id:
            with_contact = f"{sender}={uuid.UUID(first.contact_id).hex}"
            if len(with_contact) <= LONGEST_LOCAL_PART:
                sender = with_contact
        return f"{sender}@{domain}"

    def message(self, sender: str) -> EmailMessage:
        subject, text = TEXTS.get(self.locale, TEXTS["en"])
        first = self.parties[0]
        message = EmailMessage()
        message["Subject"] = subject
        message["From"] = sender
        message["To"] = self.email
        message["Date"] = email.utils.formatdate(localtime=True)
        # Derived from the mail: one that was handed over twice is shown once by most mail programs.
        digest = hashlib.sha256("\n".join([subject, *self.key]).encode()).hexdigest()
        message["Message-ID"] = f"<{digest[:32]}@{domain_of(sender)}>"
        message["Auto-Submitted"] = "auto-generated"  # no out-of-office replies (RFC 3834)
        message["X-Customer-Number"] = first.customer_number
        if first.contact_id:
            message["X-Contact-Id"] = first.contact_id
        numbers = "\n".join(self.customer_numbers())
        # Passes servers without 8BITMIME.
        message.set_content(text.format(numbers=numbers), cte="quoted-printable")
        return message


@dataclass(frozen=True)
class Entry:
    """A line of the journal: what became of a mail."""

    email: str
    locale: str
    status: str
    enhanced_status_code: str
    time: str
    parties: list[dict[str, str]]


class Journal:
    """The mails of a run, one JSON object per line."""

    def __init__(self, path: Path, resume: bool) -> None:
        if not resume and path.exists():
            raise Stopped(f"{path} exists: continue with --resume, or remove it")
        # Readable by its owner only: it has addresses.
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._file = os.fdopen(descriptor, "a+b")
        try:
            # Two runs with one journal would mail everything twice.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Stopped(f"{path} is in use by another run") from None
        # A kill may have cut off the last line.
        self._file.truncate(path.read_bytes().rfind(b"\n") + 1)
        entries = read_journal(path)
        self._handed_over = {
            (entry.email.lower(), entry.locale) for entry in entries if entry.status == HANDED_OVER
        }

    def has(self, notice: Notice) -> bool:
        """Returns true if the mail was handed over."""
        return notice.key in self._handed_over

    def append(self, notice: Notice, status: str, code: str) -> None:
        time = datetime.now(timezone.utc).isoformat()
        parties = [asdict(party) for party in notice.parties]
        entry = Entry(notice.email, notice.locale, status, code, time, parties)
        self._file.write(json.dumps(asdict(entry)).encode() + b"\n")
        self._file.flush()
        # On the disk before the next mail: also a power failure repeats at most one.
        os.fsync(self._file.fileno())


class Server:
    """The SMTP server. It is on this machine or in its network; use STARTTLS for any other."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._smtp: smtplib.SMTP | None = None

    def hand_over(self, message: EmailMessage, sender: str, recipient: str) -> tuple[str, str]:
        """Returns the status of the mail, and the enhanced status code of a rejection."""
        try:
            try:
                self._send(message, sender, recipient)
            except (smtplib.SMTPServerDisconnected, ConnectionError):
                # Servers close idle or old connections. If it was lost after the mail, the mail is
                # handed over twice; the other choice would be to lose one.
                self._smtp = None
                self._send(message, sender, recipient)
        except smtplib.SMTPRecipientsRefused as refused:
            reply, text = refused.recipients[recipient]
            return (FAILED if reply >= 500 else DEFERRED), enhanced_status_code(text)
        except smtplib.SMTPException as error:
            # Concerns the sender or the text, and so this run rather than the address.
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return DEFERRED, ""
        return HANDED_OVER, ""

    def _send(self, message: EmailMessage, sender: str, recipient: str) -> None:
        if self._smtp is None:
            self._smtp = smtplib.SMTP(*self._address, timeout=SMTP_TIMEOUT_SECONDS)
        self._smtp.send_message(message, sender, [recipient])

    def close(self) -> None:
        if self._smtp is not None:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                self._smtp.quit()


@dataclass
class Plan:
    """All mails of the notice, and the customers without a recipient."""

    notices: dict[tuple[str, str], Notice] = field(default_factory=dict)
    unreached: list[str] = field(default_factory=list)
    customer_count: int = 0

    def add(self, result: recipients_pb2.RecipientsResult) -> None:
        self.customer_count += 1
        if not result.resolution.recipients:
            reason = reason_of(result.error) if result.HasField("error") else "no recipient"
            self.unreached.append(f"{result.customer_number}: {reason}")
        for recipient in result.resolution.recipients:
            notice = Notice(recipient.email, recipient.locale)
            notice = self.notices.setdefault(notice.key, notice)
            notice.parties.append(Party(result.customer_number, recipient.contact_id))


def make_plan(args: argparse.Namespace) -> Plan:
    """Resolves all customers. The mails are held in memory, about 1 KiB for each."""
    plan = Plan()
    metadata = [("authorization", f"Bearer {args.token}")] if args.token else []
    # A service on another machine speaks TLS: grpc.secure_channel(target, credentials).
    with grpc.insecure_channel(args.target, CHANNEL_OPTIONS) as channel:
        stub = contact_service_pb2_grpc.ContactServiceStub(channel)
        for results in Walk(stub, metadata, recipients_pb2.PURPOSE_SECURITY_NOTICE, say).results():
            for result in results:
                plan.add(result)
    return plan


def send(plan: Plan, journal: Journal, args: argparse.Namespace) -> Counter[str]:
    """Hands over the mails that the journal does not have; returns their number by status."""
    counts: Counter[str] = Counter()
    failures = 0
    server = Server(args.smtp_host, args.smtp_port)
    with contextlib.closing(server):
        for notice in plan.notices.values():
            if journal.has(notice):
                counts["before"] += 1
                continue
            sender = notice.envelope_sender(args.bounce_address)
            status, code = server.hand_over(notice.message(args.sender), sender, notice.email)
            journal.append(notice, status, code)
            counts[status] += 1
            failures = 0 if status == HANDED_OVER else failures + 1
            if failures == MAX_FAILURES_IN_A_ROW:
                raise Stopped(f"{failures} mails in a row failed: check the server and the sender")
    return counts


def read_journal(path: Path) -> Iterator[Entry]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield Entry(**json.loads(line))


def enhanced_status_code(text: bytes) -> str:
    """Returns the enhanced status code of an SMTP reply (RFC 2034), or an empty text."""
    found = ENHANCED_STATUS_CODE.match(text.decode("ascii", "replace"))
    return found.group() if found else ""


def domain_of(address: str) -> str:
    return email.utils.parseaddr(address)[1].rpartition("@")[2]


def say(text: str) -> None:
    print(text, file=sys.stderr)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mails a security notice to all customers.")
    parser.add_argument("--target", default="127.0.0.1:50051", help="host and port of the service")
    parser.add_argument("--token", default=os.environ.get("CONTACT_SERVICE_TOKEN"))
    parser.add_argument("--dry-run", action="store_true", help="list the mails and send none")
    parser.add_argument("--journal", type=Path, help="a new file for what was handed over")
    parser.add_argument("--resume", action="store_true", help="continue the run of --journal")
    parser.add_argument("--sender", help='as in "Hoster <security@hoster.example>"')
    parser.add_argument("--bounce-address", help="as in bounces@hoster.example")
    parser.add_argument("--smtp-host", default="127.0.0.1")
    parser.add_argument("--smtp-port", type=int, default=25)
    args = parser.parse_args()
    if not args.dry_run:
        for option in ("journal", "sender", "bounce_address"):
            if not getattr(args, option):
                parser.error(f"--{option.replace('_', '-')} is required without --dry-run")
    return args


def run(args: argparse.Namespace) -> Counter[str]:
    if args.dry_run:
        plan = make_plan(args)
        for notice in plan.notices.values():
            print(notice.email, notice.locale, ";".join(notice.customer_numbers()), sep="\t")
        counts: Counter[str] = Counter()
    else:
        journal = Journal(args.journal, args.resume)
        plan = make_plan(args)
        counts = send(plan, journal, args)
    say(f"{plan.customer_count} customers, {len(plan.notices)} mails")
    for text in plan.unreached:
        say(f"  {text}")
    return counts


def main() -> None:
    args = parse_arguments()
    try:
        counts = run(args)
    except KeyboardInterrupt:
        sys.exit("interrupted; continue with --resume")
    except (Stopped, OSError) as error:
        sys.exit(f"{error}; continue with --resume" if isinstance(error, OSError) else str(error))
    if args.dry_run:
        return
    say(
        f"{counts[HANDED_OVER]} handed over, {counts['before']} before, {counts[FAILED]} rejected,"
        f" {counts[DEFERRED]} deferred"
    )
    if counts[DEFERRED]:
        sys.exit("some mails are deferred: run again with --resume")


if __name__ == "__main__":
    main()
