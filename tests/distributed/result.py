"""The result of a proof, and the checks that several proofs have in common."""

from __future__ import annotations

from dataclasses import dataclass, field

from failover.checks import Verdict, check
from failover.load import Load
from failover.service import Service

from .cluster import Database
from .watcher import committed_events, compare_events, sequenced_events


@dataclass
class Result:
    """The figures of a proof, and descriptions of all failed checks."""

    summary: str
    wrong: list[str] = field(default_factory=list)


def check_all(database: Database, service: Service, load: Load) -> Verdict:
    """Compares acknowledged writes with the rows, and the feed with the audit log."""
    verdict = check(database.connect, service, load)
    database.wait_for_feed()
    committed, sequenced = committed_events(database), sequenced_events(database)
    _, wrong = compare_events("the feed", committed, sequenced)
    verdict.wrong += wrong
    return verdict
