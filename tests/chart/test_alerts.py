"""Alerts: Prometheus accepts them, and each one fires exactly when it should."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from support.chart.alert_cases import CASES, Case
from support.chart.manifests import CHART, Document, nested, rejection, render
from support.chart.metrics import alert_rules


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = os.environ.get("CHART_PROMTOOL")
    assert program, "CHART_PROMTOOL is not set: run scripts/test --only chart"
    return subprocess.run(
        [program, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def write_rules(folder: Path) -> list[Document]:
    rules = alert_rules()
    (folder / "rules.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]})
    )
    return rules


def expected(case: Case, rule: Document) -> Document:
    annotations = rule["annotations"] | {"description": case.description}
    return {"exp_labels": rule["labels"] | case.labels, "exp_annotations": annotations}


def trial(case: Case, given: list[tuple[str, str]], alerts: list[Document]) -> Document:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in given],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": alerts}],
    }


def test_prometheus_accepts_the_rules(tmp_path):
    write_rules(tmp_path)
    checked = promtool(tmp_path, "check", "rules", "rules.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(CASES)} rules found" in checked.stdout


def test_every_alert_has_a_case():
    names = [rule["alert"] for rule in alert_rules()]
    assert sorted(names) == sorted(case.alert for case in CASES)
    assert all(case.fires and case.quiet for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_alert_fires_only_when_it_should(case, tmp_path):
    [rule] = [each for each in write_rules(tmp_path) if each["alert"] == case.alert]
    tests = [trial(case, given, [expected(case, rule)]) for given in case.fires]
    tests += [trial(case, given, []) for given in case.quiet]
    file = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(file))
    tested = promtool(tmp_path, "test", "rules", "tests.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_series_of_other_releases_are_ignored(case, tmp_path):
    """Except the alert that checks for the presence of any instance."""
    write_rules(tmp_path)
    other = [
        [
            (name.replace('namespace="contact"', 'namespace="other"'), values)
            for name, values in given
        ]
        for given in case.fires
        if given
    ]
    [rule] = [each for each in alert_rules() if each["alert"] == case.alert]
    nothing = case.alert == "ContactServiceUnavailable"
    tests = [trial(case, given, [expected(case, rule)] if nothing else []) for given in other]
    file = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(file))
    tested = promtool(tmp_path, "test", "rules", "tests.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_alerts_and_thresholds_are_configurable():
    values = {"disabled": ["ContactServiceSlow"], "thresholds": {"errorRatio": 0.123}}
    rule = render("production", nested("metrics.prometheusRule", values)).one("PrometheusRule")
    alerts = {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"]}
    assert len(alerts) == len(CASES) - 1 and "ContactServiceSlow" not in alerts
    assert alerts["ContactServiceRequestsFail"]["expr"].endswith("> 0.123")


def test_every_threshold_is_used():
    base = str(render("production").one("PrometheusRule"))
    thresholds = json.loads((CHART / "values.schema.json").read_text())["properties"]["metrics"]
    thresholds = thresholds["properties"]["prometheusRule"]["properties"]["thresholds"][
        "properties"
    ]
    for name in thresholds:
        moved = render("production", nested(f"metrics.prometheusRule.thresholds.{name}", 123.25))
        assert str(moved.one("PrometheusRule")).replace("123.25", "") != base, name
        assert "123.25" in str(moved.one("PrometheusRule")), name


def test_every_alert_can_be_disabled_by_name():
    names = [case.alert for case in CASES]
    rule = render("production", nested("metrics.prometheusRule.disabled", names)).one(
        "PrometheusRule"
    )
    assert rule["spec"]["groups"][0]["rules"] == []
    assert "disabled" in rejection(values=nested("metrics.prometheusRule.disabled", ["Other"]))


def test_series_selector_is_configurable():
    values = nested("metrics.prometheusRule.selector", 'job="contacts"')
    rule = render("production", values).one("PrometheusRule")
    for each in rule["spec"]["groups"][0]["rules"]:
        assert 'job="contacts"' in each["expr"] and "namespace=" not in each["expr"]
