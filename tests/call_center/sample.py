"""A customer like K-1001 of the demo, created through the service, with numbers of its own."""

from __future__ import annotations

import email
import email.policy
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

from contact.v1 import audit_pb2, contact_pb2, customer_pb2, order_type_pb2, phone_pb2

from support.contacts import Contacts
from support.mailbox import LINK
from support.polling import until
from support.service import Service

NOTE = "Nur bis 500 Euro im Monat"
ANNAS_PASSWORD = "gelber Kranich 12"
CARLAS_PASSWORD = "Roter Dachs 7"
CODE = re.compile(r"^\s*(\d{3}) ?(\d{3})\s*$", re.MULTILINE)
# Code, German and English name, and the flags of each order type.
ORDER_TYPES = [
    ("cancellation", "Kündigung", "Cancellation", {"offered_by_phone": True}),
    ("contract_takeover", "Vertragsübernahme", "Contract takeover", {}),
    (
        "domain_transfer",
        "Umzug einer Domain",
        "Domain transfer",
        {"offered_by_phone": True, "requires_verified_channel": True},
    ),
    (
        "server_reboot",
        "Neustart eines Servers",
        "Server reboot",
        {"offered_by_phone": True, "system_management": True},
    ),
    ("web_hosting", "Webhosting-Paket", "Web hosting package", {"offered_by_phone": True}),
]


@dataclass
class Sample:
    """Anna is STANDARD and restricted by a note, Bernd has no phone password, Carla is TECHNICAL."""

    number: str
    phone: str
    domain: str
    anna: contact_pb2.Contact
    bernd: contact_pb2.Contact
    carla: contact_pb2.Contact


class Folder:
    """The mails that the service writes to files."""

    def __init__(self, service: Service) -> None:
        self._folder = service.folder / "data" / "mail"

    def wait_for(self, recipient: str, pattern: re.Pattern[str]) -> re.Match[str]:
        """Waits for a mail to an address whose text matches."""
        return until(lambda: self._find(recipient, pattern), f"a mail to {recipient}")

    def count(self, recipient: str, pattern: re.Pattern[str]) -> int:
        return sum(bool(pattern.search(text)) for text in self._texts(recipient))

    def _find(self, recipient: str, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = (pattern.search(text) for text in self._texts(recipient))
        return next((match for match in found if match), None)

    def _texts(self, recipient: str) -> list[str]:
        mails = (read(path) for path in self._folder.glob("*.eml"))
        return [text for to, text in mails if recipient in to]


def read(path: Path) -> tuple[str, str]:
    mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    body = mail.get_body(("plain",))
    assert body
    return str(mail["To"]), body.get_content().replace("\r\n", "\n")


def create_order_types(service: Service) -> None:
    token = service.run("token", "--sub", "catalog", "--scope", "order_types.write")
    for code, german, english, flags in ORDER_TYPES:
        order_type = order_type_pb2.OrderType(
            code=code, display_name=german, display_names={"de": german, "en": english}, **flags
        )
        service.contacts.stub.UpdateOrderType(
            order_type_pb2.UpdateOrderTypeRequest(order_type=order_type, allow_missing=True),
            metadata=[("authorization", f"Bearer {token}")],
        )


def create_sample(contacts: Contacts, mails: Folder, digits: str = "") -> Sample:
    """Creates the customer and confirms its addresses. Its number and phone numbers contain the digits."""
    digits = digits or f"{uuid.uuid4().int % 10**7:07}"
    number, phone, domain = f"K-{digits}", f"+49721{digits}", f"muster-{digits}.example"
    customer = customer_pb2.Customer(
        customer_number=number,
        contact_data=customer_pb2.ContactData(email=f"info@{domain}"),
        notification_settings=customer_pb2.NotificationSettings(contact_changes=False),
    )
    contacts.call(
        "UpdateCustomer", customer_pb2.UpdateCustomerRequest(customer=customer, allow_missing=True)
    )

    def add(name: str, type_: int, extension: str, password: str, **values) -> contact_pb2.Contact:
        contact = contact_pb2.Contact(
            display_name=name, types=[type_], phone_numbers=[phone + extension], **values
        )
        request = contact_pb2.CreateContactRequest(
            customer_number=number,
            contact=contact,
            email=f"{name.split()[0].lower()}@{domain}",
            phone_password=password,
        )
        created = contacts.call("CreateContact", request).contact
        contacts.confirm(mails.wait_for(created.pending_email.email, LINK)[2])
        return created

    note = contact_pb2.Restrictions(note=NOTE)
    denied = contact_pb2.Restrictions(denied_order_types=["cancellation"])
    return Sample(
        number,
        phone,
        domain,
        add(
            "Anna Schmidt",
            contact_pb2.CONTACT_TYPE_STANDARD,
            "11",
            ANNAS_PASSWORD,
            restrictions=note,
        ),
        add("Bernd Maier", contact_pb2.CONTACT_TYPE_ACCOUNTING, "22", ""),
        add(
            "Carla Weber",
            contact_pb2.CONTACT_TYPE_TECHNICAL,
            "33",
            CARLAS_PASSWORD,
            restrictions=denied,
        ),
    )


def lock(contacts: Contacts, contact: contact_pb2.Contact) -> None:
    """Says wrong phone passwords until the contact's is locked."""
    verdict = None
    while verdict != phone_pb2.PHONE_PASSWORD_VERDICT_LOCKED:
        request = phone_pb2.CheckPhonePasswordRequest(
            customer_number=contact.customer_number,
            contact_id=contact.contact_id,
            phone_password="blauer Dachs 8",
            call_id=str(uuid.uuid4()),
        )
        verdict = contacts.call("CheckPhonePassword", request).verdict


def events(contacts: Contacts, number: str) -> list[str]:
    """Returns the kinds of the customer's audit log, without prefix, newest first."""
    request = audit_pb2.ListAuditEventsRequest(customer_number=number, page_size=1000)
    listed = contacts.call("ListAuditEvents", request).events
    return [audit_pb2.EventKind.Name(event.kind).removeprefix("EVENT_KIND_") for event in listed]
