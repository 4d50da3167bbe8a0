"""The binary takes what the chart gives it, and runs as its pods would run it."""

from __future__ import annotations

import re
import subprocess

import grpc
import pytest

from harness.chart import EXAMPLES, render
from harness.pods import Cluster, binary
from harness.polling import until

# Read by libraries: the database's driver, and what verifies certificates.
OF_LIBRARIES = {"PGSSLMODE", "PGSSLROOTCERT", "SSL_CERT_FILE"}
# Given as files instead.
AS_FILES = {"DATABASE_URL", "DATABASE_REPLICA_URL", "SERVICE_KEYS", "PHONE_PEPPER", "SMTP_URL"}
# For what a pod does not have: development keys, an embedded database, mails as files.
NOT_IN_PODS = {"DATA_DIR"}
# Request of grpc.health.v1.Health/Check for a service, and its answer "serving".
HEALTH_SERVING = b"\x08\x01"


def known_settings() -> set[str]:
    shown = subprocess.run(
        [binary(), "serve", "--help"], capture_output=True, text=True, check=True, timeout=20
    )
    return set(re.findall(r"\[env: (\w+)", shown.stdout))


def given_settings() -> set[str]:
    optional = {"phonePasswordCost": "m=65536,t=3,p=1", "jwt": {"scopeClaim": "permissions"}}
    return {name for example in EXAMPLES for name in render(example, optional).settings}


def test_the_chart_gives_settings_that_the_binary_knows():
    assert not given_settings() - known_settings() - OF_LIBRARIES


def test_the_chart_can_give_every_setting():
    assert not known_settings() - given_settings() - AS_FILES - NOT_IN_PODS


def is_serving(address: str, service: str) -> bool:
    """As the kubelet's gRPC probe asks."""
    request = b"\n" + bytes([len(service)]) + service.encode() if service else b""
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            return check(request, timeout=2) == HEALTH_SERVING
        except grpc.RpcError:
            return False


def answers(cluster: Cluster, probe: dict) -> bool:
    """Asks as a probe of the pod says."""
    if "grpc" in probe:
        port = cluster.ports[probe["grpc"]["port"]]
        return is_serving(f"127.0.0.1:{port}", probe["grpc"]["service"])
    return cluster.get(9090, probe["httpGet"]["path"])[0] == 200


@pytest.mark.parametrize("example", ["minimal", "gateway", "mutual-tls"])
def test_a_release_migrates_serves_answers_its_probes_and_passes_its_test(
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


def test_a_server_does_not_start_before_the_migration(database_url, tmp_path):
    manifests = render()
    cluster = Cluster(tmp_path, manifests, database_url)
    ended = cluster.container(manifests.server).run()
    assert ended.returncode == 1 and "run contact-service migrate up" in ended.stderr


def test_with_everything_on_the_database_has_to_show_its_certificate(database_url, tmp_path):
    """The last setting that is judged: the others were taken."""
    manifests = render("production")
    cluster = Cluster(tmp_path, manifests, database_url)
    ended = cluster.container(manifests.server).run()
    assert ended.returncode == 1
    assert re.search(r"^contact-service: DATABASE_URL: ", ended.stderr, re.MULTILINE), ended.stderr
