"""Finds the series and labels in Prometheus expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Iterator

import promql_parser as parser

# Labels that Prometheus adds to the series of a target, as configured by the ServiceMonitor.
TARGET_LABELS = {"namespace", "service", "pod", "container", "endpoint", "instance", "job"}


@dataclass
class Selector:
    """A `name{label="value"}`, and the labels by which its series are aggregated."""

    name: str
    matchers: list[tuple[str, str, str]]
    grouped_by: set[str] = field(default_factory=set)

    @property
    def metric(self) -> str:
        """The name without the suffixes of a histogram."""
        return re.sub(r"_(bucket|sum|count)$", "", self.name)


def selectors(expression: str) -> list[Selector]:
    """Returns all selectors of an expression, which may contain Grafana's variables."""
    plain = expression.replace("$__rate_interval", "5m")
    return list(_selectors(parser.parse(plain), set()))


def _selectors(node: object, grouped_by: set[str]) -> Iterator[Selector]:
    if isinstance(node, parser.VectorSelector):
        matchers = [
            (matcher.name, str(matcher.op).rpartition(".")[2], matcher.value)
            for matcher in node.matchers.matchers
        ]
        yield Selector(node.name, matchers, set(grouped_by))
    elif isinstance(node, parser.MatrixSelector):
        yield from _selectors(node.vector_selector, grouped_by)
    elif isinstance(node, parser.AggregateExpr):
        labels = set(node.modifier.labels) if node.modifier else set()
        yield from _selectors(node.expr, grouped_by | labels)
    elif isinstance(node, parser.BinaryExpr):
        matching = node.modifier.matching if node.modifier else None
        labels = set(matching.labels) if matching else set()
        yield from _selectors(node.lhs, grouped_by | labels)
        yield from _selectors(node.rhs, grouped_by | labels)
    elif isinstance(node, parser.Call):
        for argument in node.args:
            yield from _selectors(argument, grouped_by)
    elif isinstance(node, (parser.ParenExpr, parser.SubqueryExpr)):
        yield from _selectors(node.expr, grouped_by)
    else:
        assert isinstance(node, (parser.NumberLiteral, parser.StringLiteral)), type(node)


def values_of(operator: str, pattern: str) -> set[str]:
    """Returns the values that a matcher names; patterns are alternatives."""
    if operator in ("Equal", "NotEqual"):
        return {pattern}
    head, bracket, tail = pattern.partition("(")
    names = tail.rstrip(")") if bracket else head
    prefix = head if bracket else ""
    return {prefix + name for name in names.split("|")}
