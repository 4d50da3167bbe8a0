"""Pods: permissions, mounts, probes and shutdown."""

from __future__ import annotations

import re

import pytest

from support.chart.manifests import EXAMPLES, RELEASE, REPOSITORY, Manifests, nested, rejection, render
from support.chart.pods import mounted_files

IN_EVERY_FORM = [*EXAMPLES, "init"]
WITH_TRIAL = [*IN_EVERY_FORM, "trial"]
SERVICE = "contact.v1.ContactService"


def rendered(form: str) -> Manifests:
    if form == "trial":
        return render(None, nested("trial.enabled", True))
    if form == "init":
        return render("production", nested("migration.mode", "initContainer"))
    return render(form)


def containers(pod: dict) -> list[dict]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("form", WITH_TRIAL)
def test_pods_meet_the_restricted_security_standard(form):
    for name, template in rendered(form).pod_templates().items():
        pod = template["spec"]
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] == 65532, name
        assert security["runAsGroup"] == security["fsGroup"] == 65532, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        for volume in pod["volumes"]:
            writable = {"emptyDir"} if form == "trial" else set()
            assert set(volume) <= {"name", "configMap", "secret", "projected", *writable}, name
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert not [port for port in container.get("ports", []) if "hostPort" in port]


@pytest.mark.parametrize("form", WITH_TRIAL)
def test_pods_request_resources_and_get_no_api_token(form):
    manifests = rendered(form)
    for account in manifests.all("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    for name, template in manifests.pod_templates().items():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is (name == f"Pod/{RELEASE}-test")
        for container in containers(pod):
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert "memory" in container["resources"]["limits"], name
            assert not container["image"].endswith(":latest"), name


@pytest.mark.parametrize("form", IN_EVERY_FORM)
def test_named_and_mounted_files_are_the_same(form):
    manifests = rendered(form)
    for name, template in manifests.pod_templates().items():
        pod = template["spec"]
        for container in containers(pod):
            settings = dict(manifests.settings) if "envFrom" in container else {}
            settings |= {each["name"]: each["value"] for each in container.get("env", [])}
            named = {value for value in settings.values() if value.startswith("/")}
            files = mounted_files(pod, container)
            folders = {settings["MAIL_TEMPLATES"]} if "MAIL_TEMPLATES" in settings else set()
            assert named - folders <= files, name
            assert {file for file in files - named if not file.startswith(tuple(folders))} == set()
            assert all(mount["readOnly"] for mount in container["volumeMounts"])
            assert not [mount for mount in container["volumeMounts"] if "subPath" in mount]


@pytest.mark.parametrize("form", IN_EVERY_FORM)
def test_secrets_are_files_readable_by_the_group_only(form):
    for name, template in rendered(form).pod_templates().items():
        for volume in template["spec"]["volumes"]:
            secret = volume.get("projected") or volume.get("secret")
            assert secret is None or secret["defaultMode"] == 0o440, name
        for container in containers(template["spec"]):
            for variable in container.get("env", []):
                assert "valueFrom" not in variable, name


def test_migration_gets_only_the_database_secret():
    manifests = render("production")
    pod = manifests.one("Job", "-migrate")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["args"] == ["migrate", "up"]
    assert {file.rpartition("/")[2] for file in mounted_files(pod, container)} == {
        "database-url",
        "database-ca.crt",
    }


@pytest.mark.parametrize("mode", ["job", "initContainer"])
def test_migration_may_use_a_role_of_its_own(mode):
    def secret(pod: dict, volume: str) -> dict:
        [found] = [each for each in pod["volumes"] if each["name"] == volume]
        return found["projected"]["sources"][0]["secret"]

    own = {"existingSecret": "owner-url", "key": "url"}
    for database, name, key in (({}, "contact-service-database", "uri"), (own, "owner-url", "url")):
        manifests = render(values={"migration": {"mode": mode, "database": database}})
        job = mode == "job"
        owner = manifests.one("Job", "-migrate")["spec"]["template"]["spec"] if job else manifests.server
        used = secret(owner, "database")
        assert (used["name"], used["items"][0]["key"]) == (name, key)
        assert secret(manifests.server, "secrets")["name"] == "contact-service-database"
        for container in manifests.server["containers"]:
            assert "database" not in [mount["name"] for mount in container["volumeMounts"]]


@pytest.mark.parametrize("example", EXAMPLES)
def test_pre_install_hook_uses_no_later_resources(example):
    manifests = render(example, nested("migration.mode", "job"))
    hooks = [each for each in manifests if is_hook(each)]
    made_before = {(each["kind"], each["metadata"]["name"]) for each in hooks}
    made_later = {(each["kind"], each["metadata"]["name"]) for each in manifests} - made_before
    job = manifests.one("Job", "-migrate")
    pod = job["spec"]["template"]["spec"]
    text = str(pod)
    assert ("ServiceAccount", pod["serviceAccountName"]) in made_before
    assert "configMap" not in text
    for kind, name in made_later:
        assert kind not in ("ConfigMap", "Secret") or f"'{name}'" not in text, (kind, name)
    weights = {
        each["kind"]: int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) for each in hooks
    }
    assert all(weight < weights["Job"] for kind, weight in weights.items() if kind != "Job")
    for hook in hooks:
        assert (
            "before-hook-creation" in hook["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        )


def is_hook(document: dict) -> bool:
    hook = document["metadata"].get("annotations", {}).get("helm.sh/hook", "")
    return "pre-install" in hook and "pre-upgrade" in hook


def test_migration_mode_is_configurable():
    for mode, jobs, init in (("job", 1, 0), ("initContainer", 0, 1), ("none", 0, 0)):
        manifests = render(values=nested("migration.mode", mode))
        assert len(manifests.all("Job")) == jobs, mode
        assert len(manifests.server.get("initContainers", [])) == init, mode
        accounts = [each["metadata"]["name"] for each in manifests.all("ServiceAccount")]
        assert accounts.count(f"{RELEASE}-migrate") == jobs


def test_release_can_use_an_existing_service_account():
    manifests = render(values={"serviceAccount": {"create": False, "name": "mine"}})
    assert not manifests.all("ServiceAccount")
    for name, template in manifests.pod_templates().items():
        assert template["spec"]["serviceAccountName"] == "mine", name


def test_probes_use_grpc_without_tls():
    [container] = render().server["containers"]
    for probe, service in (("startup", ""), ("liveness", ""), ("readiness", SERVICE)):
        probed = container[f"{probe}Probe"]
        assert probed["grpc"] == {"port": 50051, "service": service}
        assert "httpGet" not in probed
    assert f'"{SERVICE}"' in (REPOSITORY / "src/server/readiness.rs").read_text()


@pytest.mark.parametrize("example", ["production", "mutual-tls"])
def test_probes_use_the_metrics_port_with_tls(example):
    manifests = render(example)
    [container] = manifests.server["containers"]
    for probe, path in (("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")):
        probed = container[f"{probe}Probe"]
        assert probed["httpGet"] == {"path": path, "port": "metrics"}
        assert "grpc" not in probed
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert manifests.settings["METRICS_ADDR"] == f"0.0.0.0:{ports['metrics']}"


def seconds_in(source: str, constant: str) -> int:
    found = re.search(
        rf"const {constant}: Duration = Duration::from_secs\((\d+)\);",
        (REPOSITORY / source).read_text(),
    )
    assert found, f"{source} has no {constant}"
    return int(found[1])


@pytest.mark.parametrize("example", EXAMPLES)
def test_pod_drains_within_its_grace_period(example):
    pod = render(example).server
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = seconds_in("src/cli/serve.rs", "DRAIN")
    close = seconds_in("src/server/run.rs", "CLOSE_TIMEOUT")
    # Nothing is cut off: it sleeps, drains, closes its connections, and has some seconds left.
    assert drain + close < 30
    assert sleep + 30 <= pod["terminationGracePeriodSeconds"]
    # The last requests arrived before proxies and name servers removed the endpoints.
    assert sleep >= 5


def test_short_grace_period_is_rejected():
    for sleep in (0, 10, 60):
        values = {"preStopSleepSeconds": sleep, "terminationGracePeriodSeconds": sleep + 30}
        container = render(values=values).server["containers"][0]
        assert ("lifecycle" in container) is (sleep > 0)
        if sleep:
            values["terminationGracePeriodSeconds"] -= 1
            assert f"must be at least {sleep + 30}" in rejection(values=values)


def checksums(values: dict | None = None, example: str = "production") -> dict[str, str]:
    template = render(example, values).one("Deployment")["spec"]["template"]
    found = template["metadata"]["annotations"].items()
    return {name: value for name, value in found if name.startswith("checksum/")}


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        (nested("log.filter", "debug"), "checksum/config"),
        (nested("publicUrl", "https://other.example.com"), "checksum/config"),
        (nested("mail.templates", {"de/email_confirmation.subject": "?"}), "checksum/templates"),
    ],
)
def test_pods_restart_when_their_configuration_changes(values, changed):
    before, after = checksums(), checksums(values)
    assert {name for name in before if before[name] != after[name]} == {changed}


def test_pods_keep_running_on_unrelated_changes():
    assert checksums() == checksums(nested("metrics.serviceMonitor.interval", "15s"))


def test_pods_are_spread_and_placement_is_configurable():
    values = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
    }
    deployment = render(values=values).one("Deployment")
    template = deployment["spec"]["template"]
    for name in ("nodeSelector", "tolerations", "affinity", "priorityClassName"):
        assert template["spec"][name] == values[name]
    assert template["metadata"]["annotations"]["a"] == "b"
    assert template["metadata"]["labels"]["c"] == "d"
    constraints = template["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in constraints] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    for constraint in constraints:
        assert constraint["labelSelector"] == deployment["spec"]["selector"]
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]


def test_custom_spread_selector_is_kept():
    mine = {
        **{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"},
        "labelSelector": {"matchLabels": {"a": "b"}},
    }
    pod = render(values={"topologySpreadConstraints": [mine]}).server
    assert pod["topologySpreadConstraints"] == [mine]


def test_extra_variables_override_and_are_unique():
    extra = [{"name": "RUST_LOG", "value": "debug"}, {"name": "PGSSLCERT", "value": "/c"}]
    manifests = render(values={"extraEnv": extra})
    assert manifests.server["containers"][0]["env"] == extra
    job = manifests.one("Job", "-migrate")["spec"]["template"]["spec"]["containers"][0]
    names = [each["name"] for each in job["env"]]
    assert len(names) == len(set(names)) and job["env"][-2:] == extra


def test_extra_containers_and_sources_are_added():
    proxy = {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}
    values = {
        "extraContainers": [{"name": "sidecar", "image": "sidecar:1"}],
        "initContainers": [proxy],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
        "extraVolumes": [{"name": "v", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    for mode in ("job", "initContainer"):
        manifests = render(values={**values, "migration": {"mode": mode}})
        server = manifests.server
        assert [each["name"] for each in server["containers"]] == ["contact-service", "sidecar"]
        own = server["containers"][0]
        assert own["envFrom"] == [{"configMapRef": {"name": RELEASE}}, *values["extraEnvFrom"]]
        # Before the migration, which may need the proxy.
        names = [each["name"] for each in server["initContainers"]]
        assert names == (["proxy"] if mode == "job" else ["proxy", "migrate"])
        migrations = [server] if mode == "initContainer" else []
        migrations += [each["spec"]["template"]["spec"] for each in manifests.all("Job")]
        for pod in [server, *migrations]:
            assert proxy in pod["initContainers"]
            assert values["extraVolumes"][0] in pod["volumes"]
        for container in (own, *migrations[-1].get("initContainers", [])[1:]):
            assert values["extraVolumeMounts"][0] in container["volumeMounts"]


def test_openshift_can_assign_user_ids():
    none = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    for name, template in render(values={"podSecurityContext": none}).pod_templates().items():
        context = template["spec"]["securityContext"]
        assert not set(none) & set(context) and context["runAsNonRoot"], name
