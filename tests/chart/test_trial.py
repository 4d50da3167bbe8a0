"""The trial: one command, one pod, and calls that work."""

from __future__ import annotations

import re

import grpc
import pytest

from support.chart.manifests import CHART, NAMESPACE, RELEASE, Manifests, helm, nested, render
from support.chart.pods import Cluster, Process
from support.polling import until

TRIAL = nested("trial.enabled", True)
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def trial(values: dict | None = None) -> Manifests:
    return render(None, TRIAL | (values or {}))


def test_trial_is_one_pod_without_requirements():
    manifests = trial()
    assert {each["kind"] for each in manifests} == {"Deployment", "ServiceAccount"}
    deployment = manifests.one("Deployment")["spec"]
    assert deployment["replicas"] == 1 and deployment["strategy"] == {"type": "Recreate"}
    assert "secret" not in str(deployment).lower()


def test_trial_does_not_replace_a_release():
    """Its selector is another one, which Kubernetes rejects for an existing Deployment."""
    selectors = [
        each.one("Deployment")["spec"]["selector"]["matchLabels"] for each in (trial(), render())
    ]
    assert selectors[0] != selectors[1]
    labels = trial().one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert selectors[0].items() <= labels.items()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("database.existingSecret", "x"),
        ("serviceKeys.existingSecret", "x"),
        ("phonePepper.existingSecret", "x"),
        ("smtp.existingSecret", "x"),
        ("jwt.issuer", "https://login.example.com"),
        ("publicUrl", "https://kunden.example.com"),
        ("tls.existingSecret", "x"),
        ("mail.templates", {"layout.txt": "x"}),
        ("autoscaling.enabled", True),
        ("grpcRoute.enabled", True),
        ("grpcIngress.enabled", True),
        ("confirmRoute.enabled", True),
        ("confirmIngress.enabled", True),
        ("metrics.serviceMonitor.enabled", True),
        ("metrics.prometheusRule.enabled", True),
    ],
)
def test_trial_rejects_values_of_a_release(path, value):
    rendered = helm("template", RELEASE, str(CHART), values=TRIAL | nested(path, value))
    assert rendered.returncode != 0
    assert f"{path}: must not be set with trial.enabled" in rendered.stderr


def test_trial_uses_the_values_of_pods():
    values = {
        "image": {"registry": "registry.example.com", "repository": "contacts", "digest": ""},
        "phonePasswordCost": "m=8192,t=1,p=1",
        "extraEnv": [{"name": "RUST_LOG", "value": "debug"}],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
        "extraContainers": [{"name": "sidecar", "image": "sidecar:1"}],
        "initContainers": [{"name": "init", "image": "init:1"}],
        "extraVolumes": [{"name": "v", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
        "podLabels": {"a": "b"},
        "podAnnotations": {"c": "d"},
        "imagePullSecrets": [{"name": "login"}],
    }
    template = trial(values).one("Deployment")["spec"]["template"]
    pod = template["spec"]
    own, sidecar = pod["containers"]
    assert own["image"] == "registry.example.com/contacts:0.1.0"
    env = [(each["name"], each["value"]) for each in own["env"]]
    assert len(dict(env)) == len(env)
    assert ("RUST_LOG", "debug") in env and ("PHONE_PASSWORD_COST", "m=8192,t=1,p=1") in env
    assert own["envFrom"] == values["extraEnvFrom"]
    assert own["volumeMounts"][-1:] == values["extraVolumeMounts"]
    assert pod["volumes"][-1:] == values["extraVolumes"]
    assert [sidecar, pod["initContainers"]] == [*values["extraContainers"], values["initContainers"]]
    assert pod["imagePullSecrets"] == values["imagePullSecrets"]
    assert template["metadata"]["labels"]["a"] == "b"
    assert template["metadata"]["annotations"]["c"] == "d"


def test_notes_show_the_way_to_the_first_call():
    shown = helm(
        *("install", RELEASE, str(CHART), "--dry-run=client", "--namespace", NAMESPACE),
        values=TRIAL,
    )
    notes = shown.stdout.partition("NOTES:")[2]
    for command in (
        f"port-forward deployment/{RELEASE} 50051 8080 9090",
        f"logs deployment/{RELEASE}",
        "/usr/local/bin/contact-service token --sub me --scope",
        f"uninstall {RELEASE}",
    ):
        assert command in notes
    assert "Secret" not in notes and "helm --namespace contact test" not in notes


def test_trial_serves_the_calls_of_its_log(tmp_path):
    pod = trial().server
    cluster = Cluster(tmp_path, trial(), "")
    assert cluster.probe(pod, "startupProbe").run().returncode != 0, "it passes before the start"
    with cluster.container(pod) as server:
        for name in PROBES:

            def passes(probe: Process = cluster.probe(pod, name)) -> bool:
                server.assert_runs()
                return probe.run().returncode == 0

            until(passes, name)
        token = re.search(r"^export CONTACT_SERVICE_TOKEN=(\S+)$", server.log, re.MULTILINE)
        assert token, server.log
        minted = Process(tmp_path, ["token", "--sub", "me", "--scope", "contacts.read"], server.environment)
        for bearer in (token[1], minted.run().stdout.strip()):
            assert b"Anna Schmidt" in contacts(f"127.0.0.1:{cluster.ports[50051]}", bearer)
        assert cluster.get(8080, "/confirm")[0] == 200
        assert cluster.get(9090, "/readyz")[0] == 200
    # The root file system of a pod is read-only.
    assert {path.name for path in tmp_path.iterdir()} == {"var", "server.log"}


def contacts(address: str, token: str) -> bytes:
    """Sends ListContacts for K-1001 (field 1) and returns the response as it is encoded."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/contact.v1.ContactService/ListContacts")
        return call(b"\n\x06K-1001", metadata=[("authorization", f"Bearer {token}")], timeout=10)


def test_trial_settings_are_known_to_the_binary(tmp_path):
    shown = Process(tmp_path, ["serve", "--help"], {}).run().stdout
    known = set(re.findall(r"\[env: (\w+)", shown))
    [container] = trial({"phonePasswordCost": "m=8192,t=1,p=1"}).server["containers"]
    given = {each["name"]: each["value"] for each in container["env"]}
    assert set(given) <= known
    # The service accepts development keys on no other address.
    for name in ("LISTEN_ADDR", "HTTP_ADDR", "METRICS_ADDR"):
        assert given[name].startswith("127.0.0.1:"), name
