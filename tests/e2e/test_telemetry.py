"""Metrics, probes, and traces as a collector receives them."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from support.contacts import Contacts, reference, unique_address
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

    def __init__(self) -> None:
        self.requests: list[trace_service_pb2.ExportTraceServiceRequest] = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        port = free_port()
        self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.endpoint = f"http://127.0.0.1:{port}"

    def Export(self, request, context):  # noqa: N802, ARG002 (the name is the contract's)
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def __enter__(self) -> Collector:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None)

    def spans(self, name: str) -> list[trace_pb2.Span]:
        scopes = (s for r in self.requests for rs in r.resource_spans for s in rs.scope_spans)
        return [span for scope in scopes for span in scope.spans if span.name == name]


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
        transactions = collector.spans("transaction")
        assert created.span_id in {span.parent_span_id for span in transactions}
        (rejected,) = collector.spans("contact.v1.ContactService/GetContact")
        assert rejected.trace_id.hex() == TRACE_ID
        assert rejected.parent_span_id.hex() == CALLER_SPAN
        attributes = {a.key: a.value.string_value for a in rejected.attributes}
        assert attributes["rpc.response.status_code"] == "NOT_FOUND"
        assert attributes["rpc.system.name"] == "grpc"
        everything = str(collector.requests)
        for secret in (mine.customer_number, mine.contact_id, mine.pending_email.email):
            assert secret not in everything
        lines = [json.loads(line) for line in service.log.splitlines()]
        (line,) = [line for line in lines if line.get("reason") == "CONTACT_NOT_FOUND"]
        assert line["span"]["trace_id"] == TRACE_ID


def test_unreachable_collector_delays_nothing(tmp_path: Path) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    with Service(tmp_path, Database("sqlite", tmp_path), **settings) as service:
        contact(service.start())
        service.stop()
