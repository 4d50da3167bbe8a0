"""Dashboard and alerts use existing metrics, and all of them."""

from __future__ import annotations

import json
import re

import pytest

from support.chart.manifests import CHART, REPOSITORY, render
from support.chart.metrics import Exposed, dashboard_expressions, expressions, mistakes
from support.chart.promql import selectors


def test_dashboard_and_alerts_use_all_existing_metrics(live_metrics: Exposed):
    assert not mistakes(live_metrics)


@pytest.mark.parametrize("name", ["contact_ready", "rpc_server_call_duration_seconds_bucket"])
def test_missing_metric_is_detected(live_metrics: Exposed, name: str):
    without = {key: labels for key, labels in live_metrics.items() if key != name}
    assert any(f"there is no {name}" in each for each in mistakes(without))


def test_unused_metric_is_detected(live_metrics: Exposed):
    found = mistakes(live_metrics | {"contact_new_things_total": {}})
    assert found == ["neither the dashboard nor an alert uses contact_new_things_total"]


def test_missing_label_or_value_is_detected(live_metrics: Exposed):
    without_value = live_metrics | {"contact_mails_total": {"outcome": {"sent", "deferred"}}}
    assert any("has no outcome=dead_lettered" in each for each in mistakes(without_value))
    without_label = live_metrics | {"contact_phone_orders_total": {}}
    assert any("has no label decision" in each for each in mistakes(without_label))


def test_named_rpcs_are_in_the_contract():
    contract = "".join(
        path.read_text() for path in (REPOSITORY / "proto/contact/v1").glob("*.proto")
    )
    rpcs = set(re.findall(r"^  rpc (\w+)\(", contract, re.MULTILINE))
    assert len(rpcs) > 20
    for place, expression in expressions():
        for name in re.findall(r"contact\.v1\.ContactService/\(?([\w|]+)", expression):
            assert set(name.split("|")) <= rpcs, place


def test_every_expression_selects_one_release():
    for place, expression in expressions():
        for selector in selectors(expression):
            names = {name for name, _, _ in selector.matchers}
            is_variable = place.startswith("dashboard: $")
            assert is_variable or {"namespace", "service"} <= names, f"{place}: {expression}"


def test_dashboard_is_consistent():
    dashboard = json.loads((CHART / "files/dashboard.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    occupied: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & occupied, f"{panel['title']} lies over another panel"
        occupied |= cells
        assert panel["type"] == "row" or panel["targets"], panel["title"]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([panel for panel in panels])))
    known = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert used - {"__rate_interval"} == known
    assert len(list(dashboard_expressions())) > 20


def test_grafana_gets_the_dashboard_unchanged():
    config = render("production").one("ConfigMap", "-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config["metadata"]["annotations"] == {"grafana_folder": "Customer portal"}
    [(name, text)] = config["data"].items()
    assert name.endswith(".json")
    assert json.loads(text) == json.loads((CHART / "files/dashboard.json").read_text())
