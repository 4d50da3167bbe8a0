"""Compares a restored database with the journal of acknowledged writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from failover.checks import shown

from .load import Entry

# The state of a contact by SQL: its key, its name and its events.
CONTACTS = """
    SELECT customer_number, {id}, display_name,
        (SELECT count(*) FROM audit_events e WHERE e.customer_number = contacts.customer_number
            AND e.contact_id = contacts.contact_id AND e.kind = 'contact.created'),
        (SELECT count(*) FROM audit_events e WHERE e.customer_number = contacts.customer_number
            AND e.contact_id = contacts.contact_id AND e.kind = 'contact.updated')
    FROM contacts
"""
CUSTOMERS = "SELECT customer_number FROM customers"


@dataclass
class Point:
    """The point of a backup: writes that were acknowledged before its start must be restored, and
    those that began after its end must not."""

    start: float
    end: float


@dataclass
class Verdict:
    before: int = 0
    after: int = 0
    restored: int = 0
    wrong: list[str] = field(default_factory=list)


def check(
    journal: Iterable[Entry],
    point: Point,
    customers: set[str],
    contacts: Sequence[tuple[str, str, str, int, int]],
) -> Verdict:
    """Checks that nothing acknowledged before the point is missing, that nothing of later is there, and
    that no write is half there."""
    found = {(row[0], row[1]): int(row[2].rpartition("/")[2]) for row in contacts}
    verdict = Verdict(restored=len(customers) + len(contacts) + sum(found.values()))
    missing, later = [], []
    for entry in journal:
        name = f"{entry.customer_number} {entry.contact_id} /{entry.update}"
        if entry.contact_id:
            is_there = found.get((entry.customer_number, entry.contact_id), -1) >= entry.update
        else:
            is_there = entry.customer_number in customers
        if entry.acknowledged < point.start:
            verdict.before += 1
            missing += [] if is_there else [name]
        elif entry.begun > point.end:
            verdict.after += 1
            later += [name] if is_there else []
    half = [
        f"{row[0]} {row[1]}: {row[2]} with {row[3]} creations and {row[4]} renamings in the audit log"
        for row in contacts
        if (row[3], row[4]) != (1, found[row[0], row[1]])
    ]
    verdict.wrong += shown("acknowledged before the point and missing", missing)
    verdict.wrong += shown("begun after the point and restored", later)
    verdict.wrong += shown("half there", half)
    if not verdict.before or not verdict.after:
        verdict.wrong.append("too few writes before or after the point to prove anything")
    return verdict
