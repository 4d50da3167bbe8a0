#!/usr/bin/env python3
"""Lists the recipients of a customer for a purpose, with generated stubs.

    pip install -r requirements.txt && ./generate.sh
    export CONTACT_SERVICE_TOKEN="$(contact-service token --sub me --scope recipients.resolve)"
    ./recipients.py K-1001 --purpose invoice
"""

import argparse
import os
import pathlib
import sys

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE / "generated"))
try:
    from contact.v1 import contact_service_pb2_grpc, recipients_pb2
except ImportError:
    sys.exit("there are no stubs yet: run ./generate.sh first")

# Part of the contract: balances requests over all addresses of the service, and retries a read once
# if its instance is unavailable. A client repeats a write itself, with the same request_id.
SERVICE_CONFIG = (HERE.parents[1] / "proto/contact/v1/service_config.json").read_text()
CHANNEL_OPTIONS = [
    ("grpc.service_config", SERVICE_CONFIG),
    # By default the backoff between connection attempts grows to two minutes.
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


def main():
    args = parse_arguments()
    request = recipients_pb2.ResolveRecipientsRequest(
        customer_number=args.customer_number,
        purpose=recipients_pb2.Purpose.Value(args.purpose),
    )
    # All requests except health and reflection need a token.
    metadata = [("authorization", f"Bearer {args.token}")] if args.token else []

    # Use TLS for a service on another machine: grpc.secure_channel(target, grpc.ssl_channel_credentials()).
    with grpc.insecure_channel(args.target, CHANNEL_OPTIONS) as channel:
        service = contact_service_pb2_grpc.ContactServiceStub(channel)
        try:
            # Always set a deadline: without one a request may wait forever.
            response = service.ResolveRecipients(request, timeout=5, metadata=metadata)
        except grpc.RpcError as error:
            sys.exit(describe(error))
    show(response.resolution)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Lists the recipients of a customer.")
    parser.add_argument("customer_number", help="such as K-1001")
    parser.add_argument("--purpose", default="invoice", help="such as invoice or payment-reminder")
    parser.add_argument("--target", default="127.0.0.1:50051", help="address of the service, such as dns:///contacts:50051")
    parser.add_argument("--token", default=os.environ.get("CONTACT_SERVICE_TOKEN"))
    args = parser.parse_args()
    purpose = "PURPOSE_" + args.purpose.upper().replace("-", "_")
    if purpose not in recipients_pb2.Purpose.keys():
        parser.error(f"there is no purpose '{args.purpose}'")
    args.purpose = purpose
    return args


def show(resolution):
    delivery = recipients_pb2.Delivery.Name(resolution.delivery)
    print(f"delivery: {delivery.removeprefix('DELIVERY_')}")
    for recipient in resolution.recipients:
        reason = recipients_pb2.RecipientReason.Name(recipient.reason)
        name = recipient.display_name or "(the customer's contact data)"
        print(f"recipient: {name} <{recipient.email}>, {reason.removeprefix('RECIPIENT_REASON_')}")
    for exclusion in resolution.exclusions:
        reason = recipients_pb2.ExclusionReason.Name(exclusion.reason)
        contact = exclusion.contact_id or "(the customer's contact data)"
        print(f"excluded: {contact}, {reason.removeprefix('EXCLUSION_REASON_')}")
    if resolution.attention_line:
        print(f"attention line: {resolution.attention_line}")


def describe(error):
    """Returns the error in one line. Programs compare the reason; the text is for people."""
    text = f"{error.code().name}: {error.details()}"
    status = rpc_status.from_call(error)  # decoded from grpc-status-details-bin
    for detail in status.details if status else []:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            text = f"{error.code().name} {info.reason} ({info.domain}): {error.details()}"
    return text


if __name__ == "__main__":
    main()
