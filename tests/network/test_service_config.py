"""The shipped service config retries every read RPC, and no other."""

from __future__ import annotations

from contact.v1 import contact_service_pb2

from support.network import service_config

READS = ("Get", "List", "Inspect", "Verify", "Resolve", "Stream", "Watch", "Export")


def test_only_reads_are_retried():
    service = contact_service_pb2.DESCRIPTOR.services_by_name["ContactService"]
    reads = {name for name in service.methods_by_name if name.startswith(READS)}
    retried = [
        name
        for method in service_config.parsed()["methodConfig"]
        if "retryPolicy" in method
        for name in method["name"]
    ]
    assert {name["service"] for name in retried} == {service.full_name}
    # A name without a method would match all RPCs.
    assert sorted(name["method"] for name in retried) == sorted(reads)


def test_only_unavailable_is_retried():
    for method in service_config.parsed()["methodConfig"]:
        assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
        assert method["retryPolicy"]["maxAttempts"] == 2
