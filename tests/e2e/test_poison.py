"""Recipients whose servers hang or reject do not delay the e-mails of others.

1 % of the e-mails get no response, 5 % a temporary and 5 % a permanent rejection. The others wait
at most 2 s longer than with good recipients only. Instances share the work, and no e-mail is sent
by two of them.
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from support import report
from support.contacts import Contacts, unique_address
from support.database import Database, ago
from support.polling import until
from support.service import Service
from support.sink import HANG, HARD, SOFT, Note, Sink

MAILS = int(os.environ.get("E2E_MAILS", "400"))
# With few e-mails the figures say little: only the proof asserts the promised value.
IS_PROOF = bool(os.environ.get("E2E_PROOF"))
PROMISED_SECONDS = 2.0

CONTACTS_PER_CUSTOMER = 100
CALLERS = 8
SECONDS_FOR_START = 60
SECONDS_PER_MAIL = 0.1

INSTANCES = {"sqlite": 1, "postgres": 2}
GOOD = "good-"


@dataclass(frozen=True)
class Waits:
    """Waiting times of the good e-mails, from the first delivery on."""

    all: list[float]

    @property
    def longest(self) -> float:
        return self.all[-1]

    @property
    def p99(self) -> float:
        return self.all[int(len(self.all) * 0.99)]

    @property
    def median(self) -> float:
        return statistics.median(self.all)

    @property
    def longest_pause(self) -> float:
        """The longest time without an accepted e-mail, which shows blocked workers."""
        return max(later - earlier for earlier, later in itertools.pairwise(self.all))


class Campaign:
    """A full outbox, the instances that empty it, and the server that they send to."""

    def __init__(self, folder: Path, backend: str, poisoned: bool, stack: ExitStack) -> None:
        folder.mkdir()
        self.wanted = beginnings(poisoned)
        self.database = Database(backend, folder)
        stack.callback(self.database.drop)
        self.sink = stack.enter_context(Sink(folder, INSTANCES[backend]))
        self.instances = [
            stack.enter_context(Service(folder, self.database, SMTP_URL=url))
            for url in self.sink.smtp_urls
        ]
        # With its worker halted, the first one only fills the outbox.
        enter_addresses(self.instances[0].start(FAILPOINTS="mail-claiming=return"), self.wanted)
        self.instances[0].kill()
        assert self.database.count("outbox_mails WHERE attempts = 0") == MAILS

    def finish(self) -> Waits:
        """Waits until all good e-mails were accepted, and checks all outcomes."""
        counts = Counter(self.wanted)
        accepted = self.sink.wait_for(counts[GOOD], SECONDS_FOR_START + MAILS * SECONDS_PER_MAIL)
        start = self.sink.notes()[0].time
        check_accepted(accepted, len(self.instances))
        check_outbox(self.database, self.sink, counts)
        return Waits(sorted(note.time - start for note in accepted))


def beginnings(poisoned: bool) -> list[str]:
    """Returns the prefixes of the addresses in the order of their entry."""
    counts = {HANG: MAILS // 100, SOFT: MAILS // 20, HARD: MAILS // 20} if poisoned else {}
    bad = [beginning for beginning, count in counts.items() for _ in range(count)]
    mixed = bad + [GOOD] * (MAILS - len(bad))
    random.Random(1).shuffle(mixed)
    return mixed


def enter_addresses(contacts: Contacts, wanted: list[str]) -> None:
    """Creates customers and contacts with pending addresses."""

    def fill_customer(part: list[str]) -> None:
        number = contacts.create_customer()
        for beginning in part:
            contacts.create_contact(number, email=unique_address(beginning.rstrip("-")))

    parts = [wanted[n : n + CONTACTS_PER_CUSTOMER] for n in range(0, MAILS, CONTACTS_PER_CUSTOMER)]
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(fill_customer, parts))


def check_accepted(accepted: list[Note], instance_count: int) -> None:
    assert all(note.recipient.startswith(GOOD) for note in accepted)
    most = Counter(note.message_id for note in accepted).most_common(1)
    assert most[0][1] == 1, f"sent more than once: {most}"
    assert len({note.port_number for note in accepted}) == instance_count, "a instance was idle"


def check_outbox(database: Database, sink: Sink, counts: Counter[str]) -> None:
    """Checks the bad ones: dead-lettered or scheduled for a retry."""
    dead = "outbox_mails WHERE state = 'dead'"
    until(lambda: len(sink.attempted(SOFT)) == counts[SOFT], "all soft ones to be attempted")
    until(lambda: database.count(dead) == counts[HARD], "all hard ones to be dead-lettered")
    assert all(times == 1 for times in sink.attempted(HARD).values()), "retried after a 550"
    soft = f"outbox_mails WHERE state = 'queued' AND recipient LIKE '{SOFT}%'"
    assert database.count(soft) == counts[SOFT]
    until(
        lambda: database.count(f"{soft} AND due_time <= {ago(seconds=0)}") == 0,
        "the soft ones to be due later",
    )
    hanging = f"outbox_mails WHERE state = 'queued' AND recipient LIKE '{HANG}%'"
    assert database.count(hanging) == counts[HANG]


def test_bad_recipients_do_not_delay_good_ones(tmp_path, backend):
    names = {False: "all good", True: "poisoned"}
    with ExitStack() as stack:
        lots = {
            poisoned: Campaign(tmp_path / name, backend, poisoned, stack)
            for poisoned, name in names.items()
        }
        # Concurrently, so that other load on the machine slows down both equally.
        instances = [instance for campaign in lots.values() for instance in campaign.instances]
        with ThreadPoolExecutor(len(instances)) as starters:
            list(starters.map(Service.start, instances))
        found = {poisoned: campaign.finish() for poisoned, campaign in lots.items()}
    for poisoned, waits in found.items():
        report.add(
            f"waiting of good mails among {MAILS}, in seconds",
            database=backend,
            instances=INSTANCES[backend],
            recipients=names[poisoned],
            median=f"{waits.median:.2f}",
            p99=f"{waits.p99:.2f}",
            longest=f"{waits.longest:.2f}",
            longest_pause=f"{waits.longest_pause:.2f}",
        )
    longer = found[True].longest - found[False].longest
    if IS_PROOF:
        assert longer <= PROMISED_SECONDS, f"waited {longer:.2f} s longer"
