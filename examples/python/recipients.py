#!/usr/bin/env python3
"""Asks who is written to for a purpose, with stubs made from the contract.

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

# Comes with the contract: spreads the calls over all addresses of the service, and repeats a read
# once whose instance went away. A write is repeated by its caller, with the same request_id.
SERVICE_CONFIG = (HERE.parents[1] / "proto/contact/v1/service_config.json").read_text()
CHANNEL_OPTIONS = [
    ("grpc.service_config", SERVICE_CONFIG),
    # An instance that was restarted is found again soon; else the pause grows to two minutes.
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


def main():
    args = parse_arguments()
    request = recipients_pb2.ResolveRecipientsRequest(
        customer_number=args.customer_number,
        purpose=recipients_pb2.Purpose.Value("PURPOSE_" + args.purpose.upper()),
    )
    # Every request needs a token but health and reflection.
    metadata = [("authorization", f"Bearer {args.token}")] if args.token else []

    # A service on another machine speaks TLS: grpc.secure_channel(target, grpc.ssl_channel_credentials()).
    with grpc.insecure_channel(args.target, CHANNEL_OPTIONS) as channel:
        service = contact_service_pb2_grpc.ContactServiceStub(channel)
        try:
            # Always give a deadline; without one a call may wait for ever.
            response = service.ResolveRecipients(request, timeout=5, metadata=metadata)
        except grpc.RpcError as error:
            sys.exit(describe(error))
    show(response.resolution)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Says who is written to for a purpose.")
    parser.add_argument("customer_number", help="such as K-1001")
    parser.add_argument("--purpose", default="invoice", help="such as invoice, outage or general")
    parser.add_argument("--target", default="127.0.0.1:50051", help="where the service is, such as dns:///contacts:50051")
    parser.add_argument("--token", default=os.environ.get("CONTACT_SERVICE_TOKEN"))
    args = parser.parse_args()
    if "PURPOSE_" + args.purpose.upper() not in recipients_pb2.Purpose.keys():
        parser.error(f"there is no purpose '{args.purpose}'")
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
        print(f"left out: {contact}, {reason.removeprefix('EXCLUSION_REASON_')}")
    if resolution.attention_line:
        print(f"attention line: {resolution.attention_line}")


def describe(error):
    """The error in one line. Programs act upon the reason; the text is for people."""
    text = f"{error.code().name}: {error.details()}"
    status = rpc_status.from_call(error)  # decoded from grpc-status-details-bin
    for detail in status.details if status else []:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            text = f"{error.code().name} {info.reason} ({info.domain}): {error.details()}"
    return text


if __name__ == "__main__":
    main()
