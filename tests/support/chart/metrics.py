"""The metrics of a running service, and the expressions that use them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from .manifests import CHART, render
from .promql import TARGET_LABELS, Selector, selectors, values_of

# The service's own metrics; those of its libraries are not checked.
OURS = ("contact_", "rpc_")
STATUS_CODES = set(
    """OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS
    PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED
    INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED""".split()
)

Exposed = dict[str, dict[str, set[str]]]


def exposed(text: str) -> Exposed:
    """Returns the values of every label of every series at /metrics."""
    found: Exposed = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def dashboard_expressions() -> Iterator[tuple[str, str]]:
    """Returns every expression of the dashboard with its panel's title."""
    dashboard = json.loads((CHART / "files/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"dashboard: {panel['title']}", target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            inner = variable["query"]["query"].removeprefix("label_values(")
            yield f"dashboard: ${variable['name']}", inner.rpartition(",")[0]


def alert_rules() -> list[dict]:
    """Returns the chart's alerts as Prometheus gets them."""
    rule = render("production").one("PrometheusRule")
    return [alert for group in rule["spec"]["groups"] for alert in group["rules"]]


def expressions() -> list[tuple[str, str]]:
    """Returns the origin and text of every expression."""
    alerts = [(f"alert {rule['alert']}", rule["expr"]) for rule in alert_rules()]
    return [*dashboard_expressions(), *alerts]


def mistakes(metrics: Exposed) -> list[str]:
    """Lists metrics that are used and do not exist, and those that exist and are not used."""
    wrong = []
    used = set()
    for place, expression in expressions():
        for selector in selectors(expression):
            used.add(selector.metric)
            wrong += [f"{place}: {why}" for why in _mistakes_of(selector, metrics)]
    ours = {name for name in metrics if name.startswith(OURS)}
    for name in sorted({Selector(name, []).metric for name in ours} - used):
        wrong.append(f"neither the dashboard nor an alert uses {name}")
    return wrong


def _mistakes_of(selector: Selector, metrics: Exposed) -> Iterator[str]:
    labels = metrics.get(selector.name)
    if labels is None:
        yield f"there is no {selector.name}"
        return
    known = set(labels) | TARGET_LABELS
    selected = {name for name, _, _ in selector.matchers}
    for name in sorted((selected | selector.grouped_by) - known):
        yield f"{selector.name} has no label {name}"
    for name, operator, pattern in selector.matchers:
        if name in TARGET_LABELS or name not in labels:
            continue
        values = STATUS_CODES if name == "rpc_response_status_code" else labels[name]
        for value in sorted(values_of(operator, pattern) - values):
            yield f"{selector.name} has no {name}={value}"
