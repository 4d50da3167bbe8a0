"""Fails unless reflection serves the custom options of all methods as the proto files have them.

Usage: reflected_options.py TARGET
"""

import sys

import grpc
from contact.v1 import contact_service_pb2, options_pb2
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

EXTENSIONS = list(options_pb2.DESCRIPTOR.extensions_by_name.values())


def scopes(file):
    """Returns the custom options of each method of a file's first service."""
    return {
        method.name: {extension.name: method.options.Extensions[extension] for extension in EXTENSIONS}
        for method in file.service[0].method
    }


expected = descriptor_pb2.FileDescriptorProto()
contact_service_pb2.DESCRIPTOR.CopyToProto(expected)
with grpc.insecure_channel(sys.argv[1]) as channel:
    served = ProtoReflectionDescriptorDatabase(channel)
    # Generic clients need the file of the options to show their names.
    served.FindFileByName(options_pb2.DESCRIPTOR.name)
    found = scopes(served.FindFileContainingSymbol("contact.v1.ContactService"))
if found != scopes(expected) or not all(options["required_scope"] for options in found.values()):
    sys.exit(f"reflection serves other options of the methods: {found}")
