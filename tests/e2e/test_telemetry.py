"""Metrics, probes, and traces as a collector receives them."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import trustme
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from support.contacts import Contacts, new_contact, reference, unique_address
from support.database import Database
from support.mailbox import Mailbox
from support.polling import until
from support.processes import free_port
from support.service import Service

from contact.v1 import contact_pb2

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER_SPAN = "b7ad6b7169203331"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Receives spans by OTLP over gRPC."""

    def __init__(self, certificate: trustme.LeafCert | None = None) -> None:
        self.requests: list[trace_service_pb2.ExportTraceServiceRequest] = []
        self.metadata: dict[str, str] = {}
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        port = free_port()
        address = f"127.0.0.1:{port}"
        if certificate:
            chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
            pair = (certificate.private_key_pem.bytes(), chain)
            self._server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
            self.endpoint = f"https://{address}"
        else:
            self._server.add_insecure_port(address)
            self.endpoint = f"http://{address}"

    def Export(self, request, context):  # noqa: N802 (the name is the contract's)
        self.metadata |= dict(context.invocation_metadata())
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def __enter__(self) -> Collector:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None)

    def all_spans(self) -> list[trace_pb2.Span]:
        scopes = (s for r in self.requests for rs in r.resource_spans for s in rs.scope_spans)
        return [span for scope in scopes for span in scope.spans]

    def spans(self, name: str) -> list[trace_pb2.Span]:
        return [span for span in self.all_spans() if span.name == name]

    def resource(self) -> dict[str, str]:
        """Returns the attributes of the service."""
        return attributes(self.requests[0].resource_spans[0].resource)


def attributes(span: trace_pb2.Span) -> dict[str, str | int]:
    values = ((a.key, a.value) for a in span.attributes)
    return {key: value.string_value or value.int_value for key, value in values}


def values(metrics: str, name: str, *labels: str) -> float:
    """Sums the values of a metric over the series with these labels."""
    total = 0.0
    for line in metrics.splitlines():
        series, _, value = line.rpartition(" ")
        if re.match(rf"{name}(\{{|$)", series) and all(label in series for label in labels):
            total += float(value)
    return total


def contact(contacts: Contacts) -> contact_pb2.Contact:
    return contacts.create_contact(contacts.create_customer(), email=unique_address())


def test_probes_and_metrics_reflect_the_state(service: Service, mailbox: Mailbox) -> None:
    assert service.monitoring("/livez")[0] == 200
    assert service.monitoring("/readyz") == (200, "ready")
    assert service.monitoring("/metric")[0] == 404
    status, before = service.monitoring("/metrics")
    assert status == 200
    assert 'contact_build_info{version="' in before
    assert values(before, "contact_ready") == 1
    assert values(before, "contact_mails_total") == 0

    mine = contact(service.contacts)
    service.contacts.get(mine)
    try:
        unknown = contact_pb2.Contact(customer_number=mine.customer_number)
        service.contacts.get(unknown)
        raise AssertionError("a contact without an id was found")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    until(lambda: mailbox.mails_to(mine.pending_email.email), "the mail")
    sent = 'outcome="sent"'
    until(
        lambda: values(service.monitoring("/metrics")[1], "contact_mails_total", sent) == 1,
        "the mail to be counted",
    )
    _, after = service.monitoring("/metrics")
    get = 'rpc_method="contact.v1.ContactService/GetContact"'
    calls = "rpc_server_call_duration_seconds_count"
    assert values(after, calls, get, 'rpc_response_status_code="OK"') == 1
    assert values(after, calls, get, 'rpc_response_status_code="INVALID_ARGUMENT"') == 1
    assert values(after, "contact_request_errors_total", 'reason="INVALID_FIELD"') == 1
    assert values(after, "contact_shared_query_size_count", 'query="contacts"') == 1
    assert values(after, "db_client_connection_wait_time_seconds_count") >= 2
    assert values(after, "contact_requests_in_flight") == 0
    for secret in (mine.customer_number, mine.contact_id, "@"):
        assert secret not in after


def test_request_is_a_span_of_its_callers_trace(tmp_path: Path, database: Database) -> None:
    with Collector() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "LOG_FORMAT": "json"}
        with Service(tmp_path, database, **settings) as service:
            contacts = service.start()
            mine = contact(contacts)
            request = reference(contact_pb2.GetContactRequest, mine)
            request.contact_id = "00000000-0000-7000-8000-000000000000"
            traced = [("traceparent", f"00-{TRACE_ID}-{CALLER_SPAN}-01")]
            try:
                contacts.stub.GetContact(request, timeout=5, metadata=contacts.metadata + traced)
                raise AssertionError("a contact that is not there was found")
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.NOT_FOUND
            service.stop()
        # Everything was exported before the process ended.
        (created,) = collector.spans("contact.v1.ContactService/CreateContact")
        assert created.kind == trace_pb2.Span.SPAN_KIND_SERVER
        (rejected,) = collector.spans("contact.v1.ContactService/GetContact")
        assert rejected.trace_id.hex() == TRACE_ID
        assert rejected.parent_span_id.hex() == CALLER_SPAN
        assert attributes(rejected)["rpc.response.status_code"] == "NOT_FOUND"
        assert attributes(rejected)["rpc.system.name"] == "grpc"
        check_statements(collector, database, created, rejected)
        everything = str(collector.requests)
        for secret in (mine.customer_number, mine.contact_id, mine.pending_email.email):
            assert secret not in everything
        lines = [json.loads(line) for line in service.log.splitlines()]
        (line,) = [line for line in lines if line.get("reason") == "CONTACT_NOT_FOUND"]
        assert line["span"]["trace_id"] == TRACE_ID


def check_statements(
    collector: Collector, database: Database, created: trace_pb2.Span, read: trace_pb2.Span
) -> None:
    """Checks the spans of the statements of a CreateContact and of a GetContact."""

    def statements(rpc: trace_pb2.Span) -> list[trace_pb2.Span]:
        return [span for span in collector.all_spans() if span.parent_span_id == rpc.span_id]

    names = [span.name for span in statements(created)]
    assert names[0] == "BEGIN" and names[-1] == "COMMIT", names
    assert {"INSERT contacts", "INSERT feed_inbox"} <= set(names)
    # A query that requests share is in the trace of each.
    assert [span.name for span in statements(read)] == ["SELECT contacts", "SELECT customers"]
    statement = statements(read)[0]
    assert statement.kind == trace_pb2.Span.SPAN_KIND_CLIENT
    expected = {
        "db.operation.name": "SELECT",
        "db.collection.name": "contacts",
        "db.query.summary": "SELECT contacts",
        "db.system.name": "postgresql" if database.backend == "postgres" else "sqlite",
    }
    found = attributes(statement)
    assert expected.items() <= found.items()
    of_server = {"server.address", "server.port", "db.namespace"}
    assert set(found) == set(expected) | (of_server if database.backend == "postgres" else set())


def test_idle_instance_exports_no_spans(tmp_path: Path, database: Database) -> None:
    def polls(service: Service) -> float:
        text = service.monitoring("/metrics")[1]
        return values(text, "db_client_operation_duration_seconds_count", 'pool_name="writers"')

    with Collector() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        with Service(tmp_path, database, **settings) as service:
            service.start()
            begun = polls(service)
            until(lambda: polls(service) > begun + 20, "polls of the database")
            service.stop()
        assert not collector.requests


def test_variables_of_opentelemetry_are_read(tmp_path: Path) -> None:
    with Collector() as collector:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-api-key=a%20key",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_SERVICE_NAME": "contacts-blue",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        with Service(tmp_path, Database("sqlite", tmp_path), **settings) as service:
            service.start().create_customer()
            service.stop()
            assert collector.spans("contact.v1.ContactService/UpdateCustomer")
            assert collector.metadata["x-api-key"] == "a key"
            expected = {"service.name": "contacts-blue", "deployment.environment.name": "test"}
            assert expected.items() <= collector.resource().items()
            collector.requests.clear()
            for disabled in [{"OTEL_TRACES_SAMPLER": "always_off"}, {"OTEL_SDK_DISABLED": "true"}]:
                service.start(**disabled).create_customer()
                service.stop()
                assert not collector.requests


def test_traces_are_exported_over_tls(tmp_path: Path, authority: trustme.CA) -> None:
    authorities = tmp_path / "ca.crt"
    authorities.write_bytes(authority.cert_pem.bytes())
    with Collector(authority.issue_cert("127.0.0.1")) as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        with Service(tmp_path, Database("sqlite", tmp_path), **settings) as service:
            service.start(SSL_CERT_FILE=str(authorities)).create_customer()
            service.stop()
            assert collector.spans("contact.v1.ContactService/UpdateCustomer")
            collector.requests.clear()
            service.start().create_customer()
            service.stop()
            assert "spans are lost" in service.log
            assert not collector.requests


def test_slow_request_is_logged_with_its_times(tmp_path: Path, database: Database) -> None:
    settings = {
        "LOG_FORMAT": "json",
        "SLOW_REQUEST_MILLIS": "1",
        "PHONE_PASSWORD_COST": "m=8192,t=1,p=1",
    }
    with Service(tmp_path, database, **settings) as service:
        contacts = service.start()
        request = new_contact(contacts.create_customer())
        # Even a hash of the least cost takes longer than the setting.
        request.generate_phone_password = True
        _, call = contacts.stub.CreateContact.with_call(
            request, timeout=5, metadata=contacts.metadata
        )
        trace_id = dict(call.initial_metadata())["x-trace-id"]
        service.stop()
        lines = [json.loads(line) for line in service.log.splitlines()]
        slow = [line for line in lines if line["message"] == "request was slow"]
        (line,) = [line for line in slow if line["span"]["trace_id"] == trace_id]
        assert line["level"] == "WARN"
        assert line["method"] == "contact.v1.ContactService/CreateContact"
        assert line["elapsed_ms"] >= line["database_ms"] + line["waiting_ms"]
        service.start(SLOW_REQUEST_MILLIS="none").create_customer()
        service.stop()
        assert "request was slow" not in service.log


def test_unreachable_collector_delays_nothing(tmp_path: Path) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    with Service(tmp_path, Database("sqlite", tmp_path), **settings) as service:
        contact(service.start())
        service.stop()
