"""Short forms of the service's RPCs for tests."""

from __future__ import annotations

import uuid

import grpc

from contact.v1 import (
    contact_pb2,
    contact_service_pb2_grpc,
    customer_pb2,
    recipients_pb2,
)

SCOPES = (
    "customers.write contact_data.write contacts.read contacts.write email.confirm"
    " deliveries.report phone_password.check recipients.resolve"
)

PENDING = contact_pb2.CONFIRMATION_STATE_PENDING
CONFIRMED = contact_pb2.CONFIRMATION_STATE_CONFIRMED
EXPIRED = contact_pb2.CONFIRMATION_STATE_EXPIRED
SUPERSEDED = contact_pb2.CONFIRMATION_STATE_SUPERSEDED

# A restarted service must be found immediately.
CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    # The time limit of an attempt to connect, TLS handshake included.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
]
DEADLINE = 20


class Contacts:
    """A client of one running service."""

    def __init__(
        self, target: str, token: str, credentials: grpc.ChannelCredentials | None = None
    ) -> None:
        if credentials:
            self.channel = grpc.secure_channel(target, credentials, CHANNEL_OPTIONS)
        else:
            self.channel = grpc.insecure_channel(target, CHANNEL_OPTIONS)
        self.stub = contact_service_pb2_grpc.ContactServiceStub(self.channel)
        self.use_token(token)

    def use_token(self, token: str) -> None:
        """Sends this token from now on, over the same connection."""
        self.metadata = [("authorization", f"Bearer {token}")]

    def close(self) -> None:
        self.channel.close()

    def call(self, rpc: str, request):
        """Sends a request and waits for the response."""
        return getattr(self.stub, rpc)(request, timeout=DEADLINE, metadata=self.metadata)

    def start(self, rpc: str, request) -> grpc.Future:
        """Sends a request without waiting."""
        return getattr(self.stub, rpc).future(request, timeout=DEADLINE, metadata=self.metadata)

    def create_customer(self) -> str:
        """Creates a customer and returns its number. No mail notifies it of changed contacts."""
        number = f"E-{uuid.uuid4().hex[:12].upper()}"
        settings = customer_pb2.NotificationSettings(contact_changes=False)
        customer = customer_pb2.Customer(customer_number=number, notification_settings=settings)
        self.call(
            "UpdateCustomer",
            customer_pb2.UpdateCustomerRequest(customer=customer, allow_missing=True),
        )
        return number

    def create_contact(self, customer_number: str, **values) -> contact_pb2.Contact:
        """Creates a STANDARD contact; see `new_contact`."""
        request = new_contact(customer_number, **values)
        return self.call("CreateContact", request).contact

    def get(self, contact: contact_pb2.Contact) -> contact_pb2.Contact:
        """Returns the current state of the contact."""
        return self.call("GetContact", reference(contact_pb2.GetContactRequest, contact)).contact

    def change_email(self, contact: contact_pb2.Contact, email: str) -> contact_pb2.Contact:
        return self.call("ChangeEmail", change_of(contact, email)).contact

    def cancel_change(self, contact: contact_pb2.Contact) -> contact_pb2.Contact:
        request = reference(contact_pb2.CancelEmailChangeRequest, contact)
        return self.call("CancelEmailChange", request).contact

    def resend(self, contact: contact_pb2.Contact) -> contact_pb2.Contact:
        request = reference(contact_pb2.ResendEmailConfirmationRequest, contact)
        return self.call("ResendEmailConfirmation", request).contact

    def inspect(self, token: str) -> contact_pb2.InspectEmailConfirmationResponse:
        request = contact_pb2.InspectEmailConfirmationRequest(token=token)
        return self.call("InspectEmailConfirmation", request)

    def confirm(self, token: str) -> contact_pb2.ConfirmEmailResponse:
        return self.call("ConfirmEmail", contact_pb2.ConfirmEmailRequest(token=token))

    def general_recipients(self, customer_number: str) -> list[str]:
        """Returns the recipients of general e-mails among the customer's STANDARD contacts."""
        request = recipients_pb2.ResolveRecipientsRequest(
            customer_number=customer_number, purpose=recipients_pb2.PURPOSE_GENERAL
        )
        resolution = self.call("ResolveRecipients", request).resolution
        return [recipient.email for recipient in resolution.recipients]


def new_contact(
    customer_number: str, *, email: str = "", name: str = "Anna Schmidt", locale: str = "de"
) -> contact_pb2.CreateContactRequest:
    """Returns the request for a STANDARD contact; a non-empty `email` is pending afterwards."""
    contact = contact_pb2.Contact(
        display_name=name, locale=locale, types=[contact_pb2.CONTACT_TYPE_STANDARD]
    )
    return contact_pb2.CreateContactRequest(
        customer_number=customer_number, contact=contact, email=email
    )


def change_of(contact: contact_pb2.Contact, email: str) -> contact_pb2.ChangeEmailRequest:
    return reference(contact_pb2.ChangeEmailRequest, contact, email=email)


def reference(request_class, contact: contact_pb2.Contact, **values):
    """Returns the resource names for a request about a contact."""
    return request_class(
        customer_number=contact.customer_number, contact_id=contact.contact_id, **values
    )


def unique_address(local: str = "anna") -> str:
    """Returns an address that receives no other e-mail."""
    return f"{local}-{uuid.uuid4().hex[:12]}@muster.example"
