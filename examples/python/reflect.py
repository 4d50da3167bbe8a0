#!/usr/bin/env python3
"""Calls the service by reflection, without stubs and .proto files.

    pip install -r requirements.txt
    ./reflect.py                                    # lists the RPCs
    ./reflect.py ResolveRecipients '{"customer_number": "K-1001", "purpose": "PURPOSE_INVOICE"}'
"""

import argparse
import os
import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

SERVICE = "contact.v1.ContactService"


def main():
    parser = argparse.ArgumentParser(description="Calls the service by reflection.")
    parser.add_argument("method", nargs="?", help="such as ResolveRecipients; none: list all")
    parser.add_argument("request", nargs="?", default="{}", help="the request as JSON")
    parser.add_argument("--target", default="127.0.0.1:50051", help="host and port of the service")
    parser.add_argument("--token", default=os.environ.get("CONTACT_SERVICE_TOKEN"))
    args = parser.parse_args()

    with grpc.insecure_channel(args.target) as channel:
        try:
            pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
            service = pool.FindServiceByName(SERVICE)
            if args.method:
                print(call(channel, service.methods_by_name[args.method], args.request, args.token))
            else:
                print(*service.methods_by_name, sep="\n")
        except KeyError:
            sys.exit(f"{args.target} knows no {SERVICE} {args.method or ''}")
        except grpc.RpcError as error:
            sys.exit(describe(error))


def call(channel, method, request_json, token):
    """Calls a unary RPC, with messages made from the descriptors of the service."""
    if method.client_streaming or method.server_streaming:
        sys.exit(f"{method.name} is a stream; this example calls unary RPCs only")
    request = json_format.Parse(request_json, message_factory.GetMessageClass(method.input_type)())
    response_class = message_factory.GetMessageClass(method.output_type)
    rpc = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response_class.FromString,
    )
    metadata = [("authorization", f"Bearer {token}")] if token else []
    response = rpc(request, timeout=5, metadata=metadata)
    return json_format.MessageToJson(response, ensure_ascii=False)


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
