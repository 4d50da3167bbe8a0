"""Figures of measurements, and the rows of the table."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from support.processes import Failed

from .statements import OtherStatements


class RowFailed(Failed):
    """A row that could not be measured, with the reason."""


@dataclass(frozen=True)
class Figure:
    """One measurement: the value that counts, and the complete output of the tool."""

    value: float
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def others(self) -> OtherStatements | None:
        """The other statements during the measurement, if they were counted."""
        counted = self.raw.get("other_statements")
        return OtherStatements(**counted) if counted else None


@dataclass(frozen=True)
class Goal:
    """The ratio that a row must reach."""

    sign: str
    ratio: float
    text: str = ""

    def __str__(self) -> str:
        return self.text or f"{self.sign} {self.ratio:g} x"

    def is_met(self, ratio: float) -> bool:
        return ratio >= self.ratio if self.sign == ">=" else ratio <= self.ratio

    def share(self, ratio: float) -> float:
        """The reached share of the goal; at least 1 if the goal is met, in either direction."""
        if self.sign == ">=":
            return ratio / self.ratio
        return self.ratio / ratio if ratio else float("inf")


def at_least(ratio: float) -> Goal:
    return Goal(">=", ratio)


def at_most(ratio: float, text: str = "") -> Goal:
    return Goal("<=", ratio, text)


@dataclass
class Result:
    """A row of the table: the service against its reference, one figure of each per turn."""

    name: str
    title: str
    against: str
    unit: str
    # None: for information only.
    goal: Goal | None
    limits: list[Figure] = field(default_factory=list)
    ours: list[Figure] = field(default_factory=list)
    error: str = ""
    # Combines the turns.
    summarise: Callable[[list[float]], float] = statistics.median

    @property
    def limit(self) -> float:
        return self.summarise([figure.value for figure in self.limits])

    @property
    def own(self) -> float:
        return self.summarise([figure.value for figure in self.ours])

    @property
    def ratio(self) -> float:
        """Of each turn, because the two measurements of a turn follow one another."""
        return self.summarise(self.turn_ratios)

    @property
    def turn_ratios(self) -> list[float]:
        pairs = zip(self.ours, self.limits, strict=True)
        return [own.value / limit.value if limit.value else float("inf") for own, limit in pairs]

    @property
    def others(self) -> list[OtherStatements]:
        """The other statements of each measurement in which they were counted."""
        found = [figure.others for figure in [*self.limits, *self.ours]]
        return [other for other in found if other]

    @property
    def is_valid(self) -> bool:
        return all(other.is_valid for other in self.others)

    @property
    def is_met(self) -> bool | None:
        """None if there is no goal or no valid measurement."""
        if self.goal is None or self.error or not self.is_valid:
            return None
        return self.goal.is_met(self.ratio)

    @property
    def verdict(self) -> str:
        if self.error:
            return "FAILED"
        if not self.is_valid:
            return "INVALID"
        return {True: "ok", False: "missed", None: "for information"}[self.is_met]

    def as_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "against": self.against,
            "unit": self.unit,
            "goal": str(self.goal) if self.goal else None,
            "verdict": self.verdict,
        }
        if self.error:
            return {**fields, "error": self.error}
        return {
            **fields,
            "limit": self.limit,
            "ours": self.own,
            "ratio": self.ratio,
            "turn_ratios": self.turn_ratios,
            "other_statements": max((other.share for other in self.others), default=None),
            "limit_turns": [vars(figure) for figure in self.limits],
            "our_turns": [vars(figure) for figure in self.ours],
        }
