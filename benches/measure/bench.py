"""The inputs of all rows, and how they alternate."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from . import limits
from .databases import SEED, Databases
from .figures import Figure, Result, RowFailed
from .processes import Load, Service, Tools
from .statements import OF_RPC, Own, StatementWatch

TURNS = 3
WARM_UP = 1
IN_FLIGHT, CONNECTIONS = 64, 4
PGBENCH_CLIENTS = 16
STEADY_RATE = 250


@dataclass
class Bench:
    """Inputs of a row: the tools, the databases, and the duration of a measurement."""

    tools: Tools
    databases: Databases
    customers: int
    seconds: int

    @property
    def url(self) -> str:
        """The large database."""
        return self.databases.postgres(self.customers)

    @property
    def folder(self) -> Path:
        return self.tools.folder

    def start(self, service: Service, rpc: str, **options: int | str) -> Load:
        """Starts sending requests to a service. The defaults suit most rows."""
        usual: dict[str, int | str] = {
            "customers": self.customers,
            "seed": SEED,
            "connections": CONNECTIONS,
            "in_flight": IN_FLIGHT,
            "seconds": self.seconds,
            "warm_up": WARM_UP,
        }
        return Load(service, rpc, **{**usual, **options})

    def load(
        self, url: str, rpc: str, settings: dict[str, str] | None = None, **options: int | str
    ) -> dict[str, Any]:
        """Returns the figures of requests to a service started for this measurement, which begins
        when the service has nothing else to do."""
        with Service(self.tools, url, **(settings or {})) as service:
            self.databases.settle(service)
            own = OF_RPC[rpc]
            if "rate" in options:
                own = replace(own, of_elapsed=True)
            return self.observed(url, own, lambda: self.start(service, rpc, **options).figures())

    def observed(self, url: str, own: Own, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Adds to figures what else the database executed; nothing on SQLite."""
        if url.startswith("sqlite:"):
            return measure()
        with StatementWatch(self.folder, self.databases.server_url, url, own) as watch:
            figures = measure()
        assert watch.others
        return {**figures, "other_statements": asdict(watch.others)}

    def rate(self, rpc: str, url: str = "", **options: int | str) -> Figure:
        figures = self.load(url or self.url, rpc, **options)
        if not figures["requests_per_second"]:
            raise RowFailed(f"load {rpc} completed no request")
        return Figure(figures["requests_per_second"], figures)

    def pgbench(self, script: str, clients: int = PGBENCH_CLIENTS) -> Figure:
        return limits.pgbench(self.folder, self.url, script, self.customers, clients, self.seconds)

    def side_by_side(
        self, result: Result, limit: Callable[[], Figure], ours: Callable[[], Figure]
    ) -> Result:
        """Measures the reference and the service in turns, so that noise affects both."""
        for _ in range(TURNS):
            self.databases.checkpoint()
            result.limits.append(limit())
            self.databases.checkpoint()
            result.ours.append(ours())
            log_turn(result)
        return result


def log_turn(result: Result) -> None:
    limit, own = result.limits[-1], result.ours[-1]
    others = [other for other in (limit.others, own.others) if other]
    share = f"; other statements {max(other.share for other in others):.1%}" if others else ""
    print(
        f"  {result.name} {len(result.ours)}/{TURNS}: {limit.value:,.1f} to"
        f" {own.value:,.1f} {result.unit}{share}",
        file=sys.stderr,
        flush=True,
    )
    for other in others:
        if not other.is_valid:
            print(f"    not valid: {other.describe()}", file=sys.stderr, flush=True)
