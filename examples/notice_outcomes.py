#!/usr/bin/env python3
"""Reports what became of the mails of urgent_notice.py, for all customers that each was written to for.

    export CONTACT_SERVICE_TOKEN="$(contact-service token --sub notices --scope deliveries.report)"

    # Rejections that the SMTP server answered while the notice was handed over:
    ./notice_outcomes.py notice.jsonl

    # Bounces. They arrive at the bounce address; the command reports each for the customer that it
    # names, and this script for the other customers of the address:
    contact-service report-bounces ~/Maildir --bounce-address bounces@hoster.example \\
        --sent "$(wc -l < notice.jsonl)" --output bounces.csv
    ./notice_outcomes.py notice.jsonl --bounces bounces.csv

That the server on this machine took a mail says nothing about the address, so it is not reported as
delivered; a delivery status notification that says so is. Repeated reports change nothing. Exits with 4
if reports are held because unusually many failed.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from recipient_streams import Stopped, wait_after
from urgent_notice import FAILED, Entry, read_journal, say

# After recipient_streams, which finds the generated stubs.
from contact.v1 import contact_service_pb2_grpc, delivery_pb2

REPORTS_PER_REQUEST = 500  # the service takes 1,000 in 256 KiB; an address may have 254 characters
TIMEOUT_SECONDS = 30
ATTEMPTS = 10
HELD_EXIT_CODE = 4


def rejections(entries: list[Entry]) -> Iterator[delivery_pb2.DeliveryReport]:
    """Yields a report of each rejected mail for each of its customers."""
    # A later attempt may have succeeded: the last line of a mail counts.
    last = {(entry.email.lower(), entry.locale): entry for entry in entries}
    for entry in last.values():
        if entry.status == FAILED:
            for party in entry.parties:
                yield report(entry.email, party, FAILED, entry.enhanced_status_code, entry.time)


def bounces(
    entries: list[Entry], rows: list[dict[str, str]]
) -> Iterator[delivery_pb2.DeliveryReport]:
    """Yields the reports of report-bounces for the other customers of the same address."""
    parties: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for entry in entries:
        for party in entry.parties:
            if party not in parties[entry.email.lower()]:
                parties[entry.email.lower()].append(party)
    for row in rows:
        sharing = parties.get(row["email"].lower(), [])
        if row["customer_number"] not in {party["customer_number"] for party in sharing}:
            say(f"not of this notice: {row['file']} {row['customer_number']} {row['email']}")
            continue
        for party in sharing:
            if party["customer_number"] != row["customer_number"]:
                code = row["enhanced_status_code"]
                yield report(row["email"], party, row["status"], code, row["report_time"])


def report(
    email: str, party: dict[str, str], status: str, code: str, time: str
) -> delivery_pb2.DeliveryReport:
    made = delivery_pb2.DeliveryReport(
        customer_number=party["customer_number"],
        contact_id=party["contact_id"],
        email=email,
        status=f"DELIVERY_STATUS_{status}",
        enhanced_status_code=code,
    )
    made.report_time.FromJsonString(time)
    return made


def send(
    stub: Any, metadata: list[tuple[str, str]], request: delivery_pb2.ReportDeliveriesRequest
) -> delivery_pb2.ReportDeliveriesResponse:
    """Sends a request, and repeats it unchanged while the service is unavailable."""
    failures = 0
    while True:
        try:
            return stub.ReportDeliveries(request, timeout=TIMEOUT_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            failures += 1
            wait_after(error, failures, ATTEMPTS, say)


def run(args: argparse.Namespace) -> Counter[str]:
    entries = list(read_journal(args.journal))
    if args.bounces:
        with open(args.bounces, encoding="utf-8", newline="") as file:
            reports = list(bounces(entries, [row for row in csv.DictReader(file) if row["email"]]))
    else:
        reports = list(rejections(entries))
    counts: Counter[str] = Counter()
    metadata = [("authorization", f"Bearer {args.token}")] if args.token else []
    with grpc.insecure_channel(args.target) as channel:
        stub = contact_service_pb2_grpc.ContactServiceStub(channel)
        for first in range(0, len(reports), REPORTS_PER_REQUEST):
            request = delivery_pb2.ReportDeliveriesRequest(
                reports=reports[first : first + REPORTS_PER_REQUEST],
                accept_burst=args.accept_burst,
            )
            for result in send(stub, metadata, request).results:
                name = delivery_pb2.DeliveryReportResult.Name(result)
                counts[name.removeprefix("DELIVERY_REPORT_RESULT_")] += 1
    return counts


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Reports what became of the mails of a notice.")
    parser.add_argument("journal", type=Path, help="the journal of urgent_notice.py")
    parser.add_argument("--bounces", type=Path, help="the output of contact-service report-bounces")
    parser.add_argument(
        "--accept-burst", action="store_true", help="the many failures were checked and are real"
    )
    parser.add_argument("--target", default="127.0.0.1:50051", help="host and port of the service")
    parser.add_argument("--token", default=os.environ.get("CONTACT_SERVICE_TOKEN"))
    return parser.parse_args()


def main() -> None:
    try:
        counts = run(parse_arguments())
    except (Stopped, OSError) as error:
        sys.exit(str(error))
    print(f"{sum(counts.values())} reports")
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count}")
    if counts["HELD"]:
        sys.exit(HELD_EXIT_CODE)


if __name__ == "__main__":
    main()
