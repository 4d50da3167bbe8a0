"""A client of an older contract: that of a release, and this one without some fields and enum values."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from contact.v1 import audit_pb2, contact_pb2, contact_service_pb2, customer_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor

from support.contacts import DEADLINE, Contacts
from support.processes import Failed

CREATED = audit_pb2.EVENT_KIND_CONTACT_CREATED
SERVICE = "contact.v1.ContactService"
# Stand for what a later contract adds.
ADDED_FIELDS = {
    "Contact": {"position", "restrictions"},
    "Customer": {"notification_settings"},
}
ADDED_VALUES = {
    "EventKind": "EVENT_KIND_CONTACT_CREATED",
    "Purpose": "PURPOSE_OUTAGE",
}


def current_files() -> descriptor_pb2.FileDescriptorSet:
    """Returns the files of this contract, each after those that it imports."""
    files = descriptor_pb2.FileDescriptorSet()
    added: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name not in added:
            added.add(file.name)
            for imported in file.dependencies:
                add(imported)
            file.CopyToProto(files.file.add())

    add(contact_service_pb2.DESCRIPTOR)
    return files


def reduced_files() -> descriptor_pb2.FileDescriptorSet:
    """Returns this contract as one from before the added fields and values."""
    files = current_files()
    for file in files.file:
        for message in file.message_type:
            names = ADDED_FIELDS.get(message.name, set())
            kept = [field for field in message.field if field.name not in names]
            del message.field[:]
            message.field.extend(kept)
        for enum in file.enum_type:
            kept_values = [v for v in enum.value if v.name != ADDED_VALUES.get(enum.name)]
            del enum.value[:]
            enum.value.extend(kept_values)
    return files


def released_files(path: Path) -> descriptor_pb2.FileDescriptorSet:
    """Reads the output of `protoc --include_imports --descriptor_set_out`."""
    return descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())


class OlderContract:
    """Messages and RPCs of an older contract, in a descriptor pool of their own."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            pool.AddSerializedFile(file.SerializeToString())
        self._service = pool.FindServiceByName(SERVICE)
        self.rpcs = set(self._service.methods_by_name)

    def message(self, rpc: str, **fields: Any) -> Any:
        """Returns the request of an RPC."""
        method = self._service.methods_by_name[rpc]
        return message_factory.GetMessageClass(method.input_type)(**fields)

    def call(self, client: Contacts, rpc: str, request: Any) -> Any:
        """Sends a request over the client's connection."""
        method = self._service.methods_by_name[rpc]
        response_class = message_factory.GetMessageClass(method.output_type)
        send = client.channel.unary_unary(
            f"/{SERVICE}/{rpc}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response_class.FromString,
        )
        return send(request, metadata=client.metadata, timeout=DEADLINE)

    def play(self, instance: Contacts) -> None:
        """Reads and changes what a client of this contract wrote, through one instance.

        Raises Failed if something of the newer contract is lost, and the error of a rejected request.
        """
        number = f"O-{uuid.uuid4().hex[:12].upper()}"
        customer, made = write_by_newer(instance, number)
        names = {"customer_number": number, "contact_id": made.contact_id}
        self._rename(instance, names, keeps_unknown=True)
        self._rename(instance, names, keeps_unknown=False)
        self._set_locale(instance, number)
        expect_kept(instance, customer, made)
        events = self.call(
            instance, "ListAuditEvents", self.message("ListAuditEvents", customer_number=number)
        ).events
        # An enum value that the older contract lacks is its number.
        if CREATED not in {event.kind for event in events}:
            raise Failed("the older client does not see the creation of the contact")
        request = self.message("BatchResolveRecipients", customer_number=number)
        resolutions = self.call(instance, "BatchResolveRecipients", request).resolutions
        if len({resolution.purpose for resolution in resolutions}) != len(resolutions):
            raise Failed("the older client confuses purposes")

    def _rename(self, instance: Contacts, names: dict[str, str], keeps_unknown: bool) -> None:
        read = self.call(instance, "GetContact", self.message("GetContact", **names)).contact
        if not keeps_unknown:
            read.DiscardUnknownFields()
        request = self.message("UpdateContact", contact=read)
        request.contact.display_name += " (renamed)"
        renamed = self.call(instance, "UpdateContact", request).contact
        if renamed.display_name != request.contact.display_name:
            raise Failed("the older client cannot rename a contact")

    def _set_locale(self, instance: Contacts, number: str) -> None:
        request = self.message("GetCustomer", customer_number=number)
        read = self.call(instance, "GetCustomer", request).customer
        read.DiscardUnknownFields()
        request = self.message("UpdateCustomer", customer=read)
        request.customer.contact_data.locale = "en"
        self.call(instance, "UpdateCustomer", request)


def write_by_newer(
    instance: Contacts, number: str
) -> tuple[customer_pb2.Customer, contact_pb2.Contact]:
    """Fills the added fields."""
    settings = customer_pb2.NotificationSettings(outages=True)
    customer = customer_pb2.Customer(customer_number=number, notification_settings=settings)
    request = customer_pb2.UpdateCustomerRequest(customer=customer, allow_missing=True)
    written = instance.call("UpdateCustomer", request).customer
    contact = contact_pb2.Contact(
        display_name="Anna Schmidt",
        types=[contact_pb2.CONTACT_TYPE_STANDARD],
        position="Head of IT",
        restrictions=contact_pb2.Restrictions(note="orders up to 100 EUR"),
    )
    request = contact_pb2.CreateContactRequest(customer_number=number, contact=contact)
    return written, instance.call("CreateContact", request).contact


def expect_kept(
    instance: Contacts, customer: customer_pb2.Customer, made: contact_pb2.Contact
) -> None:
    """Checks that the changes of the older client left the added fields as they were."""
    read = instance.get(made)
    for field in sorted(ADDED_FIELDS["Contact"]):
        if getattr(read, field) != getattr(made, field):
            raise Failed(f"a client of an older contract changed {field} of a contact")
    request = customer_pb2.GetCustomerRequest(customer_number=made.customer_number)
    settings = instance.call("GetCustomer", request).customer.notification_settings
    if settings != customer.notification_settings:
        raise Failed("a client of an older contract changed notification_settings of a customer")
