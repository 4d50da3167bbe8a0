"""Services and network policies: permitted connections."""

from __future__ import annotations

from typing import Any

import pytest

from support.chart.manifests import EXAMPLES, RELEASE, Document, nested, render


def labels_of(example: str) -> dict[str, dict[str, str]]:
    """Returns the labels of each pod by kind and name."""
    templates = render(example).pod_templates()
    return {name: template["metadata"]["labels"] for name, template in templates.items()}


def selected(selector: dict[str, str], example: str) -> set[str]:
    return {
        name for name, labels in labels_of(example).items() if selector.items() <= labels.items()
    }


@pytest.mark.parametrize("example", EXAMPLES)
def test_services_select_servers_only(example):
    for service in render(example).all("Service"):
        name = service["metadata"]["name"]
        assert selected(service["spec"]["selector"], example) == {f"Deployment/{RELEASE}"}, name


@pytest.mark.parametrize("example", EXAMPLES)
def test_disruption_budget_selects_servers_only(example):
    selector = render(example).one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    assert selected(selector, example) == {f"Deployment/{RELEASE}"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_service_ports_exist_in_pods(example):
    manifests = render(example)
    container = manifests.server["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for service in manifests.all("Service"):
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports
    addresses = {"grpc": "LISTEN_ADDR", "http": "HTTP_ADDR", "metrics": "METRICS_ADDR"}
    for name, setting in addresses.items():
        value = manifests.settings[setting]
        assert value == (f"0.0.0.0:{ports[name]}" if name in ports else "none")


@pytest.mark.parametrize(
    ("example", "protocol"), [("minimal", "kubernetes.io/h2c"), ("mutual-tls", "https")]
)
def test_grpc_port_declares_its_protocol(example, protocol):
    manifests = render(example)
    for suffix in ("", "-headless"):
        [port] = [
            p for p in manifests.one("Service", suffix)["spec"]["ports"] if p["name"] == "grpc"
        ]
        assert port["appProtocol"] == protocol
    mesh = render(example, nested("service.grpcAppProtocol", "grpc"))
    assert mesh.one("Service")["spec"]["ports"][0]["appProtocol"] == "grpc"


def test_public_service_has_no_metrics_port():
    manifests = render("production", nested("service.type", "LoadBalancer"))
    names = {port["name"] for port in manifests.one("Service")["spec"]["ports"]}
    assert names == {"grpc", "http"}
    metrics = manifests.one("Service", "-metrics")["spec"]
    assert metrics["type"] == "ClusterIP" and metrics["publishNotReadyAddresses"] is True


def test_headless_service_lists_ready_pods():
    headless = render().one("Service", "-headless")["spec"]
    assert headless["clusterIP"] == "None"
    assert "publishNotReadyAddresses" not in headless
    assert [port["port"] for port in headless["ports"]] == [50051]
    without = render(values=nested("headlessService.enabled", False))
    assert f"{RELEASE}-headless" not in [s["metadata"]["name"] for s in without.all("Service")]


def test_ipv6_is_served_and_tested():
    manifests = render(values={"bindAddress": "[::]", "service": {"ipFamilies": ["IPv6"]}})
    assert manifests.settings["LISTEN_ADDR"] == "[::]:50051"
    test = manifests.one("Pod", "-test")["spec"]["containers"][0]
    assert test["env"][0]["value"] == "[$(CONTACT_SERVICE_SERVICE_HOST)]:50051"
    for service in manifests.all("Service"):
        assert service["spec"]["ipFamilies"] == ["IPv6"]


def peers(policy: Document, direction: str, side: str, port: int) -> list[dict[str, Any]]:
    """Returns the peers of a port's rules."""
    found = []
    for rule in policy["spec"][direction]:
        # A rule without peers or ports would permit all of them.
        assert rule[side] and rule["ports"], rule
        if port in [each["port"] for each in rule["ports"]]:
            found += rule[side]
    return found


def namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def test_policy_permits_only_named_ingress():
    policy = render("production").one("NetworkPolicy")
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    bff = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "bff"}}}
    test = {"podSelector": {"matchLabels": labels_of_component("test")}}
    let_in = {
        50051: [
            *({**namespace("customer-portal"), **bff}, namespace("invoicing")),
            *(namespace("ingress-nginx"), test),
        ],
        8080: [namespace("ingress-nginx")],
        9090: [namespace("monitoring"), test],
    }
    for port, expected in let_in.items():
        assert peers(policy, "ingress", "from", port) == expected, port
    ports = {p["port"] for rule in policy["spec"]["ingress"] for p in rule["ports"]}
    assert ports == set(let_in)


def labels_of_component(component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/name": "contact-service",
    }


def ports_of_rules(policy: Document, direction: str) -> dict[int, bool]:
    """Returns the ports of the rules, and if they permit all peers."""
    sides = {"ingress": "from", "egress": "to"}
    rules = policy["spec"][direction]
    return {port["port"]: sides[direction] not in rule for rule in rules for port in rule["ports"]}


def test_policy_is_on_by_default_and_permits_only_the_ports_in_use():
    policy = render().one("NetworkPolicy")
    assert ports_of_rules(policy, "ingress") == {50051: True, 8080: True}
    assert ports_of_rules(policy, "egress") == dict.fromkeys((53, 5432, 25, 465, 587, 443), True)
    traced = render(values=nested("tracing.endpoint", "http://collector:4317"))
    assert 4317 in ports_of_rules(traced.one("NetworkPolicy"), "egress")
    without = render(values=nested("networkPolicy.enabled", False))
    assert not without.all("NetworkPolicy")


def test_test_pod_may_connect_to_the_ports_that_it_uses():
    """With TLS it uses the port of the metrics, which is open to nothing else by default."""
    test = {"podSelector": {"matchLabels": labels_of_component("test")}}
    for values, port in (({}, 50051), (nested("tls.existingSecret", "t"), 9090)):
        values |= nested("networkPolicy.ingress.grpc", [namespace("portal")])
        policy = render(values=values).one("NetworkPolicy")
        [rule] = [r for r in policy["spec"]["ingress"] if r["ports"][0]["port"] == port]
        assert test in rule["from"]
    assert 9090 not in ports_of_rules(render().one("NetworkPolicy"), "ingress")


def test_policy_permits_only_named_egress():
    policy = render("production").one("NetworkPolicy")
    database = {"podSelector": {"matchLabels": {"cnpg.io/cluster": "contact-db"}}}
    let_out = {
        5432: [database],
        465: [{"ipBlock": {"cidr": "192.0.2.25/32"}}],
        443: [{"ipBlock": {"cidr": "198.51.100.0/24"}}],
        4317: [namespace("monitoring")],
    }
    for port, expected in let_out.items():
        assert peers(policy, "egress", "to", port) == expected, port
    [name_server] = {str(peer) for peer in peers(policy, "egress", "to", 53)}
    assert "kube-dns" in name_server
    ports = {p["port"] for rule in policy["spec"]["egress"] for p in rule["ports"]}
    assert ports == {*let_out, 53}


def test_migration_reaches_only_the_database():
    policy = render("production").one("NetworkPolicy", "-migrate")
    selector = policy["spec"]["podSelector"]["matchLabels"]
    assert selected(selector, "production") == {f"Job/{RELEASE}-migrate"}
    assert "ingress" not in policy["spec"] and "Ingress" in policy["spec"]["policyTypes"]
    assert {p["port"] for rule in policy["spec"]["egress"] for p in rule["ports"]} == {53, 5432}


def test_unused_connections_are_not_permitted():
    policy = render("gateway").one("NetworkPolicy")
    # The token keys come from a ConfigMap, and traces and scraping are off.
    assert {p["port"] for rule in policy["spec"]["egress"] for p in rule["ports"]} == {
        *(53, 5432, 25, 465, 587)
    }
    assert not peers(policy, "ingress", "from", 9090)


def test_policy_selects_the_servers():
    selector = render("production").one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert selected(selector, "production") == {f"Deployment/{RELEASE}"}


def test_disabled_confirmation_page_leaves_no_resources():
    manifests = render("mutual-tls")
    assert manifests.settings["HTTP_ADDR"] == "none"
    for document in [*manifests.all("Service"), manifests.one("Deployment")]:
        assert "8080" not in str(document["spec"]), document["metadata"]["name"]


def test_discovered_keys_need_egress_and_no_file():
    discovered = render("production", nested("jwt.jwks.url", ""))
    assert "JWT_JWKS" not in discovered.settings
    assert "jwks" not in {volume["name"] for volume in discovered.server["volumes"]}
    policies = [
        each.one("NetworkPolicy")["spec"]["egress"] for each in (discovered, render("production"))
    ]
    assert policies[0] == policies[1]
