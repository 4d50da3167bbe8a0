"""A customer like K-1001 of the demo, created through the service."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from contact.v1 import contact_pb2, customer_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from support.contacts import Contacts
from support.mailbox import Mailbox

STANDARD = contact_pb2.CONTACT_TYPE_STANDARD
ACCOUNTING = contact_pb2.CONTACT_TYPE_ACCOUNTING
TECHNICAL = contact_pb2.CONTACT_TYPE_TECHNICAL
OTHER = contact_pb2.CONTACT_TYPE_OTHER


@dataclass
class Sample:
    """The customer: Anna is its only STANDARD contact, Bernd ACCOUNTING, Carla TECHNICAL."""

    contacts: Contacts
    number: str
    domain: str
    anna: contact_pb2.Contact
    bernd: contact_pb2.Contact
    carla: contact_pb2.Contact

    def now(self, contact: contact_pb2.Contact) -> contact_pb2.Contact:
        return self.contacts.get(contact)

    def all(self) -> list[contact_pb2.Contact]:
        request = contact_pb2.ListContactsRequest(customer_number=self.number)
        return list(self.contacts.call("ListContacts", request).contacts)

    def update(self, contact: contact_pb2.Contact, paths: list[str], **values):
        """Changes a contact as another person does, without the portal."""
        changed = contact_pb2.Contact(
            customer_number=contact.customer_number, contact_id=contact.contact_id, **values
        )
        request = contact_pb2.UpdateContactRequest(
            contact=changed, update_mask=FieldMask(paths=paths)
        )
        return self.contacts.call("UpdateContact", request).contact


def create_sample(contacts: Contacts, mailbox: Mailbox) -> Sample:
    """Creates the customer and confirms all addresses."""
    number = f"K-{uuid.uuid4().int % 10**7:07}"
    domain = f"muster-{number[2:]}.example"
    customer = customer_pb2.Customer(
        customer_number=number,
        contact_data=customer_pb2.ContactData(
            email=f"info@{domain}", phone_number="+49 721 1234560"
        ),
    )
    contacts.call(
        "UpdateCustomer",
        customer_pb2.UpdateCustomerRequest(customer=customer, allow_missing=True),
    )

    def add(name: str, types: list, local: str, **values) -> contact_pb2.Contact:
        given, family = name.split()
        contact = contact_pb2.Contact(
            types=types,
            name=contact_pb2.PersonName(given_name=given, family_name=family),
            phone_numbers=["+49 721 1234561"],
            **values,
        )
        request = contact_pb2.CreateContactRequest(
            customer_number=number, contact=contact, email=f"{local}@{domain}"
        )
        return contacts.call("CreateContact", request).contact

    created = [
        add("Anna Schmidt", [STANDARD], "anna", invoice_email_enabled=True),
        add("Bernd Maier", [ACCOUNTING], "bernd", invoice_email_enabled=True),
        add("Carla Weber", [TECHNICAL], "carla", locale="en"),
    ]
    # Their mails are sent at the same time.
    for contact in created:
        contacts.confirm(mailbox.wait_for(contact.pending_email.email).token)
    return Sample(contacts, number, domain, *map(contacts.get, created))


def make_findings(sample: Sample) -> contact_pb2.Contact:
    """Gives the customer four findings; returns Dora, who has no address."""
    for contact in (sample.anna, sample.bernd):
        sample.update(contact, ["invoice_email_enabled"], invoice_email_enabled=False)
    sample.contacts.change_email(sample.bernd, f"maier@{sample.domain}")
    dora = contact_pb2.Contact(display_name="Dora Klein", types=[OTHER])
    created = sample.contacts.call(
        "CreateContact",
        contact_pb2.CreateContactRequest(customer_number=sample.number, contact=dora),
    ).contact
    sample.contacts.call(
        "UpdateCustomer",
        customer_pb2.UpdateCustomerRequest(
            customer=customer_pb2.Customer(customer_number=sample.number),
            update_mask=FieldMask(paths=["contact_data.email"]),
        ),
    )
    return created
