"""The binary accepts the chart's settings, and runs as its pods would run it."""

from __future__ import annotations

import re
import subprocess

import grpc
import pytest

from support.chart.manifests import EXAMPLES, render
from support.chart.pods import Cluster, binary
from support.polling import until

# Read by libraries: the database driver, the verification of certificates, and OpenTelemetry.
OF_LIBRARIES = {
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "SSL_CERT_FILE",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
}
# Passed as files instead.
AS_FILES = {"DATABASE_URL", "DATABASE_REPLICA_URL", "SERVICE_KEYS", "PHONE_PEPPER", "SMTP_URL"}
# Settings without a use in pods: development keys, an embedded database, e-mails as files.
NOT_IN_PODS = {"DATA_DIR"}
# A grpc.health.v1.Health/Check request for a service, and its response "serving".
HEALTH_SERVING = b"\x08\x01"


def known_settings() -> set[str]:
    shown = subprocess.run(
        [binary(), "serve", "--help"], capture_output=True, text=True, check=True, timeout=20
    )
    return set(re.findall(r"\[env: (\w+)", shown.stdout))


def given_settings() -> set[str]:
    optional = {"phonePasswordCost": "m=65536,t=3,p=1", "jwt": {"scopeClaim": "permissions"}}
    return {name for example in EXAMPLES for name in render(example, optional).settings}


def test_chart_settings_are_known_to_the_binary():
    assert not given_settings() - known_settings() - OF_LIBRARIES


def test_chart_can_set_every_setting():
    assert not known_settings() - given_settings() - AS_FILES - NOT_IN_PODS


def is_serving(address: str, service: str) -> bool:
    """Checks the health as the kubelet's gRPC probe does."""
    request = b"\n" + bytes([len(service)]) + service.encode() if service else b""
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            return check(request, timeout=2) == HEALTH_SERVING
        except grpc.RpcError:
            return False


def answers(cluster: Cluster, probe: dict) -> bool:
    """Runs a probe of the pod."""
    if "grpc" in probe:
        port = cluster.ports[probe["grpc"]["port"]]
        return is_serving(f"127.0.0.1:{port}", probe["grpc"]["service"])
    return cluster.get(9090, probe["httpGet"]["path"])[0] == 200


@pytest.mark.parametrize("example", ["minimal", "gateway", "mutual-tls"])
def test_release_migrates_serves_and_passes_its_test(
    example, database_url, tmp_path
):
    manifests = render(example)
    cluster = Cluster(tmp_path, manifests, database_url)
    if manifests.all("Job"):
        job = manifests.one("Job", "-migrate")["spec"]["template"]["spec"]
        migration = cluster.container(job)
    else:
        migration = cluster.container(manifests.server, kind="initContainers")
    migrated = migration.run()
    assert migrated.returncode == 0, migrated.stderr
    test = cluster.container(manifests.one("Pod", "-test")["spec"])
    assert test.run().returncode != 0, "it passes although nothing runs"
    pod = manifests.server
    with cluster.container(pod) as server:
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = pod["containers"][0][name]

            def passes(probe: dict = probe) -> bool:
                server.assert_runs()
                return answers(cluster, probe)

            until(passes, name)
        assert "$(" not in str(test.environment)
        passed = test.run()
        assert passed.returncode == 0, passed.stderr + server.log
        assert cluster.get(8080, "/confirm")[0] == (200 if example != "mutual-tls" else 0)
        assert "contact_ready" in cluster.get(9090, "/metrics")[1]
    # The root file system of a pod is read-only.
    assert {path.name for path in tmp_path.iterdir()} <= {"etc", "jwks.json", "server.log"}


def test_server_does_not_start_before_the_migration(database_url, tmp_path):
    manifests = render()
    cluster = Cluster(tmp_path, manifests, database_url)
    ended = cluster.container(manifests.server).run()
    assert ended.returncode == 1 and "run contact-service migrate up" in ended.stderr


def test_full_example_requires_the_database_certificate(database_url, tmp_path):
    """The last setting to be validated: all others are accepted."""
    manifests = render("production")
    cluster = Cluster(tmp_path, manifests, database_url)
    ended = cluster.container(manifests.server).run()
    assert ended.returncode == 1
    assert re.search(r"^contact-service: DATABASE_URL: ", ended.stderr, re.MULTILINE), ended.stderr
