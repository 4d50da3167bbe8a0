"""Clients that are pinned to an instance, and to the customers of one worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from failover.load import Load, Reader, Writer
from failover.service import Service
from support.processes import Failed

from .cluster import Database, Node

# More than a writer creates.
CUSTOMERS = 400


@dataclass(frozen=True)
class Pair:
    """The node of an instance, and the worker that has the rows of the customers."""

    instance: Node
    worker: Node

    def needs(self, node: Node) -> bool:
        return node in (self.instance, self.worker)

    def __str__(self) -> str:
        return f"instance at the {self.instance.name}, customers on {self.worker.name}"


@dataclass(frozen=True)
class Answered:
    """The numbers of successful writes and reads, and of failed requests."""

    writes: int
    reads: int
    failed: int

    def since(self, earlier: Answered) -> Answered:
        return Answered(
            self.writes - earlier.writes, self.reads - earlier.reads, self.failed - earlier.failed
        )


class PinnedWriter(Writer):
    """Writes to customers of one worker only."""

    def __init__(self, database: Database, worker: Node, run: str, number: int, *args: Any) -> None:
        super().__init__(run, number, *args)
        self._numbers = iter(database.numbers_on(worker, f"{run}-{number}-", CUSTOMERS))

    def next_number(self) -> str:
        number = next(self._numbers, None)
        if number is None:
            raise Failed("the writer needs more customers")
        return number


class PinnedLoad(Load):
    """A writer and a reader for each pair of instance and worker."""

    def __init__(
        self, database: Database, nodes: Sequence[Node], service: Service, run: str
    ) -> None:
        """`nodes` has the node of each instance."""
        self._database = database
        self.pairs = [
            Pair(instance, worker) for worker in database.cluster.workers for instance in nodes
        ]
        super().__init__(service, run)

    def make_clients(
        self, service: Service, *parts: Any
    ) -> tuple[Sequence[Writer], Sequence[Reader]]:
        # A client's number selects the instance: pairs alternate between the instances.
        writers = [
            PinnedWriter(self._database, pair.worker, self.run, n, service, n, *parts)
            for n, pair in enumerate(self.pairs)
        ]
        readers = [
            Reader([writer], service, len(writers) + n, *parts) for n, writer in enumerate(writers)
        ]
        return writers, readers

    def answered(self) -> list[Answered]:
        """Returns what each pair got so far."""
        return [
            Answered(len(writer.acknowledged), reader.reads, writer.failed + reader.failed)
            for writer, reader in zip(self.writers, self.readers)
        ]

    def longest_write(self) -> float:
        times = [end - start for writer in self.writers for start, end in writer.acknowledged]
        return max(times, default=0.0)
