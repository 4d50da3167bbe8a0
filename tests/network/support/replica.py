"""The service as a process of which the network proofs know a little more."""

from __future__ import annotations

from pathlib import Path

from harness.contacts import Contacts
from harness.database import Database
from harness.service import Service


STARTS = 3


class Replica(Service):
    """One replica; its metrics are served to nobody."""

    def __init__(self, folder: Path, database: Database, **settings: str) -> None:
        super().__init__(folder, database, METRICS_ADDR="none", **settings)
        self.failed_starts = 0

    @property
    def pid(self) -> int:
        assert self._process, "the service is not running"
        return self._process.pid

    def start_again(self) -> Contacts:
        """Starts as Kubernetes does: what ends at once is started anew. A database that does not
        answer for 2 s ends it, which happens where a machine has far too much to do."""
        for _ in range(STARTS - 1):
            try:
                return self.start()
            except AssertionError:
                self.kill()
                self.failed_starts += 1
        return self.start()
