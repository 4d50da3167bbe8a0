"""Every example renders to manifests that are valid for Kubernetes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.chart.manifests import CHART, EXAMPLES, RELEASE, Manifests, helm, nested, render

# The oldest version that the chart supports, one between, and the newest with a schema.
KUBERNETES = ["1.30", "1.34", "1.37"]
# No resources of Kubernetes itself; separate tests check their shapes.
CUSTOM = {
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "GRPCRoute": "gateway.networking.k8s.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
}
EVERYTHING = {
    "grpcIngress": {"enabled": True, "hosts": ["grpc.example.com"]},
    "grpcRoute": {"enabled": True, "parentRefs": [{"name": "g"}]},
    "confirmRoute": {"enabled": True, "parentRefs": [{"name": "g"}]},
}


def validation_errors(manifests: Manifests, version: str, tmp_path) -> str:
    """Returns the validation errors, empty if there are none."""
    file = tmp_path / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(each for each in manifests if each["kind"] not in CUSTOM))
    program = Path(sys.executable).with_name("kubernetes-validate")
    ended = subprocess.run(
        [program, "--strict", "-k", version, str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output = ended.stdout + ended.stderr
    assert "WARN" not in output, output
    return "" if ended.returncode == 0 else output


@pytest.mark.parametrize("example", EXAMPLES)
def test_lint_passes(example):
    linted = helm("lint", "--strict", str(CHART), "--values", str(EXAMPLES[example]))
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert "[WARNING]" not in linted.stdout and "[ERROR]" not in linted.stdout


def test_chart_has_all_examples():
    assert set(EXAMPLES) == {"minimal", "production", "gateway", "mutual-tls"}


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("example", EXAMPLES)
def test_kubernetes_accepts_every_example(example, version, tmp_path):
    assert not validation_errors(render(example), version, tmp_path)


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_the_trial_and_additions(version, tmp_path):
    container = {"name": "sidecar", "image": "sidecar:1"}
    additions = {
        "extraContainers": [container],
        "initContainers": [container | {"name": "init", "restartPolicy": "Always"}],
        "extraEnvFrom": [{"prefix": "A_", "configMapRef": {"name": "more", "optional": True}}],
        **nested("networkPolicy.ingress.metrics", "any"),
    }
    assert not validation_errors(render("minimal", additions), version, tmp_path)
    trial = render(None, additions | nested("trial.enabled", True))
    assert not validation_errors(trial, version, tmp_path)


def test_kubernetes_rejects_unknown_fields(tmp_path):
    manifests = render()
    manifests.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["probe"] = {}
    assert "probe" in validation_errors(manifests, KUBERNETES[0], tmp_path)


@pytest.mark.parametrize("example", EXAMPLES)
def test_custom_resources_have_served_versions(example):
    for document in render(example):
        expected = CUSTOM.get(document["kind"])
        is_custom = "." in document["apiVersion"] and "k8s.io" not in document["apiVersion"]
        assert not is_custom or expected, f"{document['kind']} is known to no test"
        assert expected in (None, document["apiVersion"])


def test_service_monitor_selects_the_metrics_port():
    manifests = render("production")
    monitor = manifests.one("ServiceMonitor")
    assert set(monitor["spec"]) == {"jobLabel", "namespaceSelector", "selector", "endpoints"}
    [endpoint] = monitor["spec"]["endpoints"]
    assert set(endpoint) == {"port", "path", "interval", "scrapeTimeout"}
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    selected = [s for s in manifests.all("Service") if wanted <= s["metadata"]["labels"].items()]
    assert [each["metadata"]["name"] for each in selected] == [f"{RELEASE}-metrics"]
    assert [port["name"] for port in selected[0]["spec"]["ports"]] == [endpoint["port"]]
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_prometheus_rule_has_the_shape_of_the_operator():
    rule = render("production").one("PrometheusRule")
    assert set(rule["spec"]) == {"groups"}
    for group in rule["spec"]["groups"]:
        assert set(group) == {"name", "rules"}
        for alert in group["rules"]:
            assert set(alert) - {"for"} == {"alert", "expr", "labels", "annotations"}
            assert alert["labels"]["severity"] in ("critical", "warning")
            assert alert["labels"]["team"] == "customer-portal"


def test_routes_target_service_ports():
    manifests = render("gateway")
    service = manifests.one("Service")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    for kind, suffix, port in (("GRPCRoute", "", "grpc"), ("HTTPRoute", "-confirm", "http")):
        route = manifests.one(kind, suffix)
        assert set(route["spec"]) == {"parentRefs", "hostnames", "rules"}
        [rule] = route["spec"]["rules"]
        assert rule["backendRefs"] == [{"name": RELEASE, "port": ports[port]}]
    [match] = manifests.one("GRPCRoute")["spec"]["rules"][0]["matches"]
    assert match == {"method": {"type": "Exact", "service": "contact.v1.ContactService"}}
    [match] = manifests.one("HTTPRoute", "-confirm")["spec"]["rules"][0]["matches"]
    assert match == {"path": {"type": "PathPrefix", "value": "/confirm"}}


@pytest.mark.parametrize(("example", "protocol"), [("minimal", "GRPC"), ("production", "GRPCS")])
def test_grpc_ingress_routes_the_service_over_tls(example, protocol):
    annotation = "nginx.ingress.kubernetes.io/backend-protocol"
    values = nested("grpcIngress", {"enabled": True, "hosts": ["grpc.example.com"]})
    ingress = render(example, values).one("Ingress")
    assert ingress["metadata"]["annotations"][annotation] == protocol
    [tls] = ingress["spec"]["tls"]
    assert tls["hosts"] == ["grpc.example.com"]
    assert tls.get("secretName") == (
        "contacts-internal-example-com-tls" if example == "production" else None
    )
    [rule] = ingress["spec"]["rules"]
    assert rule["host"] == "grpc.example.com"
    [path] = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/contact.v1.ContactService", "Prefix")
    assert path["backend"]["service"] == {"name": RELEASE, "port": {"name": "grpc"}}
    values["grpcIngress"]["annotations"] = {annotation: "GRPCS", "a": "b"}
    annotations = render("minimal", values).one("Ingress")["metadata"]["annotations"]
    assert annotations == {annotation: "GRPCS", "a": "b"}


def test_extra_manifests_are_templates():
    name = '{{ include "contact-service.fullname" . }}-text'
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: '{name}'}}\n"
    mapping = {
        **{"apiVersion": "v1", "kind": "ConfigMap"},
        "metadata": {"name": "{{ .Release.Name }}-object"},
        "data": {"namespace": "{{ .Release.Namespace }}"},
    }
    manifests = render(values={"extraManifests": [text, mapping]})
    assert manifests.one("ConfigMap", "-text")
    assert manifests.one("ConfigMap", "-object")["data"] == {"namespace": "contact"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_create_no_secrets(example):
    assert not render(example).all("Secret")


def test_two_releases_can_coexist():
    one = {(each["kind"], each["metadata"]["name"]) for each in render("production")}
    other = render("production", release="second")
    assert not one & {(each["kind"], each["metadata"]["name"]) for each in other}
    selector = other.all("Deployment")[0]["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= render().one("Deployment")["metadata"]["labels"].items()


@pytest.mark.parametrize(
    "values", [{}, nested("fullnameOverride", "n" * 63)], ids=["release", "override"]
)
def test_names_are_truncated_for_long_release_names(values):
    for document in render("production", {**EVERYTHING, **values}, release="r" * 53):
        assert len(document["metadata"]["name"]) <= 63, document["metadata"]["name"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_selectors_do_not_change_with_versions(example):
    for document in render(example):
        selector = document["spec"].get("selector", {}) if "spec" in document else {}
        labels = selector.get("matchLabels", selector)
        assert not {"app.kubernetes.io/version", "helm.sh/chart"} & set(labels)


def test_image_is_named_by_digest_tag_or_version():
    # A packed chart names the image of its release.
    unnamed = {"registry": "", "repository": "contact-service", "digest": ""}
    for values, image in (
        ({}, "contact-service:0.1.0"),
        ({"tag": "1.2.3"}, "contact-service:1.2.3"),
        ({"registry": "r.example.com:5000", "tag": "x"}, "r.example.com:5000/contact-service:x"),
        ({"digest": f"sha256:{'0' * 64}"}, f"contact-service@sha256:{'0' * 64}"),
    ):
        manifests = render(values={"image": unnamed | values})
        for name, pod in manifests.pod_templates().items():
            assert [each["image"] for each in pod["spec"]["containers"]] == [image], name


@pytest.mark.parametrize("example", EXAMPLES)
def test_notes_name_every_secret_and_the_next_step(example):
    values = yaml.safe_load(EXAMPLES[example].read_text())
    shown = helm(
        *("install", RELEASE, str(CHART), "--dry-run=client", "--namespace", "contact"),
        *("--values", str(EXAMPLES[example])),
    )
    assert shown.returncode == 0, shown.stderr
    notes = shown.stdout[shown.stdout.index("NOTES:") :]
    assert f"helm --namespace contact test {RELEASE}" in notes
    for secret in (values["database"]["existingSecret"], values["smtp"]["existingSecret"]):
        assert f"Secret {secret}\n" in notes
    assert f"{'https' if 'tls' in values else 'http'}://{RELEASE}.contact:50051" in notes
    assert ("Alerts are disabled" in notes) is ("metrics" not in values)


def test_notes_name_the_restrictions_of_the_network():
    def notes(values: dict | None) -> str:
        shown = helm(
            *("install", RELEASE, str(CHART), "--dry-run=client", "--namespace", "contact"),
            *("--values", str(EXAMPLES["minimal"])),
            values=values,
        )
        assert shown.returncode == 0, shown.stderr
        return " ".join(shown.stdout.partition("NOTES:")[2].split())

    default = notes(None)
    assert "PostgreSQL on port 5432, to mail servers on 25, 465, 587" in default
    assert "networkPolicy.ingress.grpc" in default and "networkPolicy.ingress.metrics" in default
    named = notes(nested("networkPolicy.ingress", {"grpc": [{"podSelector": {}}], "metrics": "any"}))
    assert "networkPolicy.ingress" not in named
    assert "networkPolicy.enabled restricts that" in notes(nested("networkPolicy.enabled", False))


def test_autoscaling_omits_the_replica_count():
    manifests = render("production")
    assert "replicas" not in manifests.one("Deployment")["spec"]
    target = manifests.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", RELEASE)
    assert render().one("Deployment")["spec"]["replicas"] == 2
