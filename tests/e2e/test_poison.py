"""Recipients whose servers hang or refuse do not keep the mails of others waiting.

1 % of the mails get no answer, 5 % are refused for now, 5 % for good. The others wait no more than
2 s longer than they do when all recipients are good. Replicas share the work, and none sends what
another one sends.
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

from harness import report
from harness.contacts import Contacts, unique_address
from harness.database import Database, ago
from harness.polling import until
from harness.service import Service
from harness.sink import HANG, HARD, SOFT, Note, Sink

MAILS = int(os.environ.get("E2E_MAILS", "400"))
# With few mails the numbers say little: they are held to the promise in the proof only.
IS_PROOF = bool(os.environ.get("E2E_PROOF"))
PROMISED_SECONDS = 2.0

CONTACTS_A_CUSTOMER = 100
CALLERS = 8
SECONDS_FOR_START = 60
SECONDS_A_MAIL = 0.1

REPLICAS = {"sqlite": 1, "postgres": 2}
GOOD = "good-"


@dataclass(frozen=True)
class Waits:
    """How long the good mails waited, from the first delivery on."""

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
        """The longest time in which no mail was accepted: lanes that are blocked show here."""
        return max(later - earlier for earlier, later in itertools.pairwise(self.all))


class Lot:
    """A full outbox, the replicas that are to empty it, and the server that they mail to."""

    def __init__(self, folder: Path, backend: str, poisoned: bool, stack: ExitStack) -> None:
        folder.mkdir()
        self.wanted = beginnings(poisoned)
        self.database = Database(backend, folder)
        stack.callback(self.database.drop)
        self.sink = stack.enter_context(Sink(folder, REPLICAS[backend]))
        self.replicas = [
            stack.enter_context(Service(folder, self.database, SMTP_URL=url))
            for url in self.sink.smtp_urls
        ]
        # With its worker halted, the first one fills the outbox only.
        enter_addresses(self.replicas[0].start(FAILPOINTS="mail-claiming=return"), self.wanted)
        self.replicas[0].kill()
        assert self.database.count("outbox_mails WHERE attempts = 0") == MAILS

    def finish(self) -> Waits:
        """Waits until all good mails were accepted, and judges what became of all."""
        counts = Counter(self.wanted)
        accepted = self.sink.wait_for(counts[GOOD], SECONDS_FOR_START + MAILS * SECONDS_A_MAIL)
        start = self.sink.notes()[0].time
        judge_accepted(accepted, len(self.replicas))
        judge_outbox(self.database, self.sink, counts)
        return Waits(sorted(note.time - start for note in accepted))


def beginnings(poisoned: bool) -> list[str]:
    """How the addresses begin, in the order in which they are entered."""
    counts = {HANG: MAILS // 100, SOFT: MAILS // 20, HARD: MAILS // 20} if poisoned else {}
    bad = [beginning for beginning, count in counts.items() for _ in range(count)]
    mixed = bad + [GOOD] * (MAILS - len(bad))
    random.Random(1).shuffle(mixed)
    return mixed


def enter_addresses(contacts: Contacts, wanted: list[str]) -> None:
    """Makes customers and contacts, whose addresses wait for their confirmation."""

    def fill_customer(part: list[str]) -> None:
        number = contacts.create_customer()
        for beginning in part:
            contacts.create_contact(number, email=unique_address(beginning.rstrip("-")))

    parts = [wanted[n : n + CONTACTS_A_CUSTOMER] for n in range(0, MAILS, CONTACTS_A_CUSTOMER)]
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(fill_customer, parts))


def judge_accepted(accepted: list[Note], replica_count: int) -> None:
    assert all(note.recipient.startswith(GOOD) for note in accepted)
    most = Counter(note.message_id for note in accepted).most_common(1)
    assert most[0][1] == 1, f"sent more than once: {most}"
    assert len({note.port_number for note in accepted}) == replica_count, "a replica was idle"


def judge_outbox(database: Database, sink: Sink, counts: Counter[str]) -> None:
    """The bad ones: given up, or to be tried again later."""
    dead = "outbox_mails WHERE state = 'dead'"
    until(lambda: len(sink.asked(SOFT)) == counts[SOFT], "all soft ones to be tried")
    until(lambda: database.count(dead) == counts[HARD], "all hard ones to be given up")
    assert all(times == 1 for times in sink.asked(HARD).values()), "tried again after a 550"
    soft = f"outbox_mails WHERE state = 'queued' AND recipient LIKE '{SOFT}%'"
    assert database.count(soft) == counts[SOFT]
    until(
        lambda: database.count(f"{soft} AND due_time <= {ago(seconds=0)}") == 0,
        "the soft ones to be due later",
    )
    hanging = f"outbox_mails WHERE state = 'queued' AND recipient LIKE '{HANG}%'"
    assert database.count(hanging) == counts[HANG]


def test_good_recipients_do_not_wait_for_bad_ones(tmp_path, backend):
    names = {False: "all good", True: "poisoned"}
    with ExitStack() as stack:
        lots = {
            poisoned: Lot(tmp_path / name, backend, poisoned, stack)
            for poisoned, name in names.items()
        }
        # Both at the same time, so that whatever else the machine does slows down both alike.
        replicas = [replica for lot in lots.values() for replica in lot.replicas]
        with ThreadPoolExecutor(len(replicas)) as starters:
            list(starters.map(Service.start, replicas))
        found = {poisoned: lot.finish() for poisoned, lot in lots.items()}
    for poisoned, waits in found.items():
        report.add(
            f"waiting of good mails among {MAILS}, in seconds",
            database=backend,
            replicas=REPLICAS[backend],
            recipients=names[poisoned],
            median=f"{waits.median:.2f}",
            p99=f"{waits.p99:.2f}",
            longest=f"{waits.longest:.2f}",
            longest_pause=f"{waits.longest_pause:.2f}",
        )
    longer = found[True].longest - found[False].longest
    if IS_PROOF:
        assert longer <= PROMISED_SECONDS, f"waited {longer:.2f} s longer"
