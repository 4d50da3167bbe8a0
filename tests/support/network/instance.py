"""The service as a process, with access to its process id."""

from __future__ import annotations

from pathlib import Path

from ..contacts import Contacts
from ..database import Database
from ..service import Service


STARTS = 3


class Instance(Service):
    """One instance without a scraper of its metrics."""

    def __init__(self, folder: Path, database: Database, **settings: str) -> None:
        super().__init__(folder, database, METRICS_ADDR="none", **settings)
        self.failed_starts = 0

    @property
    def pid(self) -> int:
        assert self._process, "the service is not running"
        return self._process.pid

    def start_with_restarts(self) -> Contacts:
        """Starts as Kubernetes does: a process that exits is restarted.

        A database that does not respond within 2 s ends it, which happens on an overloaded machine.
        """
        for _ in range(STARTS - 1):
            try:
                return self.start()
            except AssertionError:
                self.kill()
                self.failed_starts += 1
        return self.start()
