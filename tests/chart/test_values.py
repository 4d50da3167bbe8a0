"""Invalid values are rejected by the schema or the chart, with an error that names them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.chart.manifests import (
    CHART,
    EXAMPLES,
    REPOSITORY,
    default_values,
    nested,
    rejection,
    template,
)

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
# Objects that are passed to Kubernetes unchanged; its own schema validates their fields.
PASSED_THROUGH = {"global", "ports", "valueFrom", "scaleUp", "scaleDown", "claims", "extraVolumes"}
PASSED_THROUGH |= {"nodeAffinity", "podAffinity", "podAntiAffinity", "containers", "manifest"}

# Path, value, and the name in the error.
WRONG_VALUES: list[tuple[str, Any, str]] = [
    ("replicas", 3, "replicas"),
    ("replicaCount", "2", "replicaCount"),
    ("replicaCount", -1, "replicaCount"),
    ("replicaCount", 1.5, "replicaCount"),
    ("image.tagg", "1", "tagg"),
    ("image.repository", "Contact Service", "repository"),
    ("image.tag", "a b", "tag"),
    ("image.digest", "sha256:abc", "digest"),
    ("image.pullPolicy", "Sometimes", "pullPolicy"),
    ("imagePullSecrets", ["login"], "imagePullSecrets"),
    ("imagePullSecrets", [{"nam": "login"}], "imagePullSecrets"),
    ("nameOverride", "Contact_Service", "nameOverride"),
    ("fullnameOverride", "1contact", "fullnameOverride"),
    ("fullnameOverride", "contact.service", "fullnameOverride"),
    ("commonLabels", {"a b": "c"}, "commonLabels"),
    ("podLabels", {"a": "b c"}, "podLabels"),
    ("podLabels", {"a": 1}, "podLabels"),
    ("podAnnotations", {"a": True}, "podAnnotations"),
    ("strategy.type", "Rolling", "strategy"),
    ("strategy.rollingUpdate.maxSurge", "half", "maxSurge"),
    ("database.url", "postgres://user:password@host/name", "url"),
    ("database.existingSecret", "Not A Name", "existingSecret"),
    ("database.existingSecrets", "x", "existingSecrets"),
    ("database.key", "", "key"),
    ("database.key", "a/b", "key"),
    ("database.sslMode", "verify", "sslMode"),
    ("database.replica", "contact-db-replica", "replica"),
    ("migration.mode", "hook", "mode"),
    ("migration.database.existingSecret", "Not A Name", "existingSecret"),
    ("migration.database.url", "postgres://owner:password@host/name", "url"),
    ("trial", True, "trial"),
    ("trial.persistence", True, "persistence"),
    ("migration.timeoutSeconds", 0, "timeoutSeconds"),
    ("serviceKeys.value", "1:AAAA", "value"),
    ("phonePepper.value", "1:AAAA", "value"),
    ("smtp.url", "smtp://mail", "url"),
    ("smtp.from", "no-address", "from"),
    ("phonePasswordCost", "m=65536;t=3", "phonePasswordCost"),
    ("auditRetentionDays", 0, "auditRetentionDays"),
    ("auditRetentionDays", "365", "auditRetentionDays"),
    ("channelChecksPerMinute", 0, "channelChecksPerMinute"),
    ("channelChecksPerMinute", "many", "channelChecksPerMinute"),
    ("jwt.jwks.url", "http://login.example.com/keys", "url"),
    ("jwt.jwks.url", "https://", "url"),
    ("jwt.audience", "", "audience"),
    ("jwt.customerClaim", "", "customerClaim"),
    ("jwt.leewaySeconds", 121, "leewaySeconds"),
    ("jwt.leewaySeconds", -1, "leewaySeconds"),
    ("publicUrl", "kunden.example.com", "publicUrl"),
    ("publicUrl", "https://kunden.example.com/?a=b", "publicUrl"),
    ("brand.name", "x" * 61, "name"),
    ("brand.name", "one\ntwo", "name"),
    ("brand.color", "blue", "color"),
    ("brand.logo.configMap", "Not A Name", "configMap"),
    ("timeZone", "", "timeZone"),
    ("mail.templates", {"email_confirmation.txt": "…"}, "templates"),
    ("mail.templates", {"fr/email_confirmation.txt": "…"}, "templates"),
    ("mail.templates", {"de/../../secrets": "…"}, "templates"),
    ("tls.enabled", True, "enabled"),
    ("tls.clientCa", "internal-ca", "clientCa"),
    ("log.format", "logfmt", "format"),
    ("log.filter", "", "filter"),
    ("tracing.endpoint", "otel-collector:4317", "endpoint"),
    ("bindAddress", "127.0.0.1", "bindAddress"),
    ("service.type", "ExternalName", "type"),
    ("service.grpcPort", 0, "grpcPort"),
    ("service.grpcPort", 65536, "grpcPort"),
    ("service.grpcPort", "50051", "grpcPort"),
    ("service.ipFamilies", ["IPv5"], "ipFamilies"),
    ("grpcRoute.parentRefs", [{"namespace": "gateways"}], "parentRefs"),
    ("grpcRoute.hostnames", ["https://a.example.com"], "hostnames"),
    ("confirmIngress.hosts", ["kunden.example.com/confirm"], "hosts"),
    ("confirmIngress.path", "/", "path"),
    ("grpcIngress.hosts", ["grpc.example.com:443"], "hosts"),
    ("grpcIngress.path", "/", "path"),
    ("networkPolicy.ingress.grpc", "all", "grpc"),
    ("networkPolicy.egress.database.peers", "postgres", "database"),
    ("networkPolicy.ingress.grpc", [{}], "grpc"),
    ("networkPolicy.ingress.grpc", [{"podSelectors": {}}], "grpc"),
    ("networkPolicy.ingress.grpc", [{"ipBlock": {"cidr": "10.0.0.0"}}], "grpc"),
    ("networkPolicy.egress.database", [{"podSelector": {}}], "database"),
    ("networkPolicy.egress.smtp.ports", ["smtp"], "smtp"),
    ("networkPolicy.egress.smtp.ports", [], "smtp"),
    ("networkPolicy.egress.https.peers", [], "https"),
    ("metrics.port", "metrics", "port"),
    ("metrics.serviceMonitor.interval", "30", "interval"),
    ("metrics.prometheusRule.disabled", ["ContactServiceTypo"], "disabled"),
    ("metrics.prometheusRule.thresholds.errorRatio", "5%", "errorRatio"),
    ("metrics.prometheusRule.thresholds.errorsRatio", 0.1, "errorsRatio"),
    ("metrics.prometheusRule.runbookUrl", "docs/operations/runbooks.md", "runbookUrl"),
    ("resources.limit.memory", "1Gi", "limit"),
    ("resources.limits.memory", "1 GB", "memory"),
    ("autoscaling.minReplicas", 0, "minReplicas"),
    ("podDisruptionBudget.maxUnavailable", "half", "maxUnavailable"),
    ("topologySpreadConstraints", [{"maxSkew": 1}], "topologySpreadConstraints"),
    ("tolerations", [{"keys": "x"}], "tolerations"),
    ("affinity.nodeAffinities", {}, "nodeAffinities"),
    ("preStopSleepSeconds", "10s", "preStopSleepSeconds"),
    ("terminationGracePeriodSeconds", 10, "terminationGracePeriodSeconds"),
    ("probes.liveness.path", "/", "path"),
    ("probes.readiness.periodSeconds", 0, "periodSeconds"),
    ("podSecurityContext.runAsUser", 0, "runAsUser"),
    ("podSecurityContext.runAsNonroot", True, "runAsNonroot"),
    ("securityContext.privileged", True, "privileged"),
    ("extraEnv", [{"value": "x"}], "extraEnv"),
    ("extraEnv", [{"name": "A-B", "value": "x"}], "extraEnv"),
    ("extraEnv", [{"name": "PORT", "value": 80}], "extraEnv"),
    ("extraVolumeMounts", [{"name": "x"}], "extraVolumeMounts"),
    ("extraEnvFrom", [{"secretRef": "more"}], "extraEnvFrom"),
    ("extraEnvFrom", [{"prefix": "A_"}], "extraEnvFrom"),
    ("extraEnvFrom", [{"secretRef": {"name": "Not A Name"}}], "extraEnvFrom"),
    ("extraContainers", [{"name": "sidecar"}], "extraContainers"),
    ("extraContainers", [{"name": "contact-service", "image": "x"}], "extraContainers"),
    ("extraContainers", {"name": "sidecar", "image": "x"}, "extraContainers"),
    ("initContainers", [{"name": "migrate", "image": "x"}], "initContainers"),
    ("initContainers", [{"name": "A_B", "image": "x"}], "initContainers"),
    ("extraManifests", [{"kind": "ConfigMap"}], "extraManifests"),
    ("extraManifests", "kind: ConfigMap", "extraManifests"),
]

GATEWAY = {"enabled": True, "parentRefs": [{"name": "g"}]}
WRONG_TOGETHER: list[tuple[dict[str, Any], str]] = [
    *(
        (nested(path, ""), f"{path}: must be set")
        for path in (
            "database.existingSecret serviceKeys.existingSecret phonePepper.existingSecret "
            "smtp.existingSecret smtp.from jwt.issuer publicUrl"
        ).split()
    ),
    (nested("jwt.jwks.configMap", "keys"), "jwt.jwks: at most one of"),
    (
        {"jwt": {"jwks": {"url": ""}, "issuer": "https://a.example, b"}},
        "jwt.issuer: must be https where jwt.jwks is not set",
    ),
    (nested("terminationGracePeriodSeconds", 39), "must be at least 40"),
    (nested("preStopSleepSeconds", 16), "must be at least 46"),
    (nested("phonePasswordCost", "m=99999999,t=3,p=1"), "phonePasswordCost: m must be 8192"),
    (nested("phonePasswordCost", "m=8191,t=3,p=1"), "phonePasswordCost: m must be 8192"),
    ({"tls": {"existingSecret": "t"}, "metrics": {"enabled": False}}, "metrics.enabled: required with TLS"),
    (nested("tls.clientCa.existingSecret", "ca"), "tls.clientCa: requires tls.existingSecret"),
    (nested("metrics", {"enabled": False, "serviceMonitor": {"enabled": True}}), "serviceMonitor"),
    (nested("metrics", {"enabled": False, "prometheusRule": {"enabled": True}}), "prometheusRule"),
    (nested("autoscaling", {"enabled": True, "minReplicas": 7}), "autoscaling.maxReplicas"),
    (nested("podDisruptionBudget.minAvailable", 1), "podDisruptionBudget: one of"),
    (nested("podDisruptionBudget.maxUnavailable", ""), "podDisruptionBudget: one of"),
    (nested("strategy.rollingUpdate.maxSurge", 0), "must not both be 0"),
    (nested("grpcRoute.enabled", True), "grpcRoute.parentRefs: must name a Gateway"),
    (nested("confirmRoute.enabled", True), "confirmRoute.parentRefs: must name a Gateway"),
    (nested("confirmIngress.enabled", True), "confirmIngress.hosts: must name a host"),
    (nested("grpcIngress.enabled", True), "grpcIngress.hosts: must name a host"),
    (
        {"confirmPage": {"enabled": False}, "confirmRoute": GATEWAY},
        "confirmRoute: requires confirmPage.enabled",
    ),
    *(
        (nested(f"networkPolicy.{path}", []), f"networkPolicy.{path}: must name a peer")
        for path in (
            "ingress.grpc ingress.confirm egress.dns.peers egress.database.peers "
            "egress.smtp.peers egress.jwks.peers"
        ).split()
    ),
    (
        {**nested("networkPolicy.egress.otlp.peers", []), "tracing": {"endpoint": "http://o:4317"}},
        "networkPolicy.egress.otlp.peers: must name a peer",
    ),
    (nested("metrics.serviceMonitor.enabled", True), "networkPolicy.ingress.metrics: must name a peer"),
    *(
        (nested("resources.limits", limits) | nested("phonePasswordCost", cost), f"must be at least {least}Mi")
        for limits, cost, least in (
            ({"memory": "415Mi"}, "", 416),
            ({"memory": "0.4Gi"}, "", 416),
            ({"memory": 400_000_000}, "", 416),
            ({"memory": "1G"}, "m=262144,t=3,p=1", 1568),
            ({"memory": "287Mi", "cpu": 1}, "", 288),
            ({"memory": "287Mi", "cpu": "500m"}, "", 288),
            ({"memory": "351Mi", "cpu": "3900m"}, "", 352),
        )
    ),
]


@pytest.mark.parametrize(("path", "value", "named"), WRONG_VALUES)
def test_schema_rejects(path, value, named):
    error = rejection(values=nested(path, value))
    assert "values don't meet the specifications of the schema" in error, error
    assert named in error


@pytest.mark.parametrize(("values", "named"), WRONG_TOGETHER)
def test_chart_rejects(values, named):
    error = rejection(values=values)
    assert "Invalid values" in error and named in error, error


@pytest.mark.parametrize(
    ("limits", "cost"),
    [
        ({"memory": "416Mi"}, ""),
        ({"memory": None}, "m=1048576,t=3,p=1"),
        ({"memory": "288Mi", "cpu": "2"}, ""),
        ({"memory": "352Mi", "cpu": "3.9"}, ""),
        ({"memory": "0.5G", "cpu": 16}, ""),
        ({"memory": "1568Mi"}, "m=262144,t=3,p=1"),
        ({"memory": "80Mi"}, "m=8192,t=3,p=1"),
    ],
)
def test_memory_that_fits_the_hashes_is_accepted(limits, cost):
    values = nested("resources.limits", limits) | nested("phonePasswordCost", cost)
    rendered = template(values=values)
    assert rendered.returncode == 0, rendered.stderr


def test_memory_rule_is_that_of_the_service():
    """The pod would not start otherwise."""
    source = REPOSITORY / "src/crypto/password_hasher"
    cost, capacity = ((source / name).read_text() for name in ("cost.rs", "capacity.rs"))
    assert "RESERVED_BYTES: u64 = 32 * 1024 * 1024;" in cost and "memory_kib: 64 * 1024," in cost
    assert "const MAX_HASHES: usize = 4;" in capacity
    assert "const ESCALATION_THREADS: usize = 2;" in capacity
    assert "(idle_threads() + ESCALATION_THREADS).max(MAX_HASHES)" in capacity


def test_all_errors_are_reported_at_once():
    error = rejection(values={"publicUrl": "", "jwt": {"issuer": ""}, "smtp": {"from": ""}})
    for name in ("publicUrl", "jwt.issuer", "smtp.from"):
        assert f"{name}: must be set" in error


def objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Returns every object of the schema with its path."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for name, inner in schema.items():
            step = "" if name in ("properties", "$defs") else f".{name}"
            yield from objects(inner, path + step)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects(inner, path)


def test_every_schema_object_is_closed():
    count = 0
    for path, schema in objects(SCHEMA):
        if path.removesuffix(".items").rpartition(".")[2] not in PASSED_THROUGH:
            assert "additionalProperties" in schema, path
            assert schema["additionalProperties"] is not True, path
            count += 1
    assert count > 50


def test_schema_matches_the_values():
    def compare(schema: dict[str, Any], values: Any, path: str) -> None:
        if "$ref" in schema:
            schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        if not (isinstance(values, dict) and values and "properties" in schema):
            return
        assert set(values) <= set(schema["properties"]), path
        for name, inner in values.items():
            compare(schema["properties"][name], inner, f"{path}.{name}")

    defaults = default_values()
    compare(SCHEMA, defaults, "")
    assert set(SCHEMA["properties"]) == {*defaults, "global"}


def test_parent_chart_can_pass_globals():
    assert template(values={"global": {"anything": {"at": "all"}}}).returncode == 0


@pytest.mark.parametrize("example", EXAMPLES)
def test_budgets_accept_numbers_and_percentages(example):
    for budget in (
        {"maxUnavailable": "50%", "minAvailable": ""},
        {"maxUnavailable": "", "minAvailable": 1},
        {"enabled": False},
    ):
        rendered = template(example, {"podDisruptionBudget": budget})
        assert rendered.returncode == 0, rendered.stderr
        key = "minAvailable: 1" if budget.get("minAvailable") else "maxUnavailable: 50%"
        assert (key in rendered.stdout) is ("enabled" not in budget)
