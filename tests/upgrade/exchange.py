"""Everything that one version issues and another accepts."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
from contact.v1 import audit_pb2, contact_pb2, customer_pb2, phone_order_pb2, phone_pb2

from distributed.story import MATCH, ORDER_TYPE
from failover.load import MASK, reason_of
from support.contacts import DEADLINE, Contacts, reference, unique_address
from support.mailbox import Mailbox
from support.processes import Failed


class Exchange:
    """One customer whose tokens, grants and ids are issued by one instance and used at another."""

    def __init__(self, issuer: Contacts, acceptor: Contacts, mailbox: Mailbox) -> None:
        self._issuer, self._acceptor, self._mailbox = issuer, acceptor, mailbox
        self._number = f"X-{uuid.uuid4().hex[:12].upper()}"
        self.accepted: list[str] = []

    def play(self) -> None:
        """Uses each kind once.

        Raises Failed for one that is not accepted, and the error of a rejected request.
        """
        customer = customer_pb2.Customer(customer_number=self._number)
        request = customer_pb2.UpdateCustomerRequest(customer=customer, allow_missing=True)
        self._issuer.call("UpdateCustomer", request)
        contact = self._request_ids()
        self._etags(contact)
        self._pages()
        self._cursors()
        self._codes(contact)
        self._grants(contact)

    def _accept(self, what: str, is_accepted: bool) -> None:
        if not is_accepted:
            raise Failed(f"{what} of one version is not accepted by the other")
        self.accepted.append(what)

    def _request_ids(self) -> contact_pb2.Contact:
        email = unique_address("exchange")
        contact = contact_pb2.Contact(
            display_name="Anna Schmidt", types=[contact_pb2.CONTACT_TYPE_STANDARD]
        )
        request = contact_pb2.CreateContactRequest(
            customer_number=self._number,
            contact=contact,
            email=email,
            request_id=str(uuid.uuid4()),
        )
        created = self._issuer.call("CreateContact", request)
        self._accept("a request id", self._acceptor.call("CreateContact", request) == created)
        request.contact.display_name = "Berta Maier"
        self._accept(
            "a reused request id",
            rejection(self._acceptor, "CreateContact", request) == "REQUEST_ID_REUSED",
        )
        token = self._mailbox.wait_for(email).token
        confirmed = self._acceptor.confirm(token)
        self._accept("a confirmation link", confirmed.contact_id == created.contact.contact_id)
        for _ in range(2):
            self._issuer.create_contact(self._number)
        return created.contact

    def _etags(self, contact: contact_pb2.Contact) -> None:
        read = self._issuer.get(contact)
        changed = contact_pb2.Contact(
            customer_number=self._number,
            contact_id=contact.contact_id,
            display_name="Anna Maier",
            etag=read.etag,
        )
        request = contact_pb2.UpdateContactRequest(contact=changed, update_mask=MASK)
        updated = self._acceptor.call("UpdateContact", request).contact
        self._accept("an etag", updated.display_name == changed.display_name)
        changed.display_name = "Anna Schulz"
        request = contact_pb2.UpdateContactRequest(contact=changed, update_mask=MASK)
        reason = rejection(self._issuer, "UpdateContact", request)
        self._accept("an outdated etag", reason == "ETAG_MISMATCH")

    def _pages(self) -> None:
        self._page("ListContacts", contact_pb2.ListContactsRequest, "contacts")
        self._page("ListAuditEvents", audit_pb2.ListAuditEventsRequest, "events")

    def _page(self, rpc: str, request_class: Any, field: str) -> None:
        names = {"customer_number": self._number}
        everything = getattr(self._issuer.call(rpc, request_class(**names, page_size=100)), field)
        first = self._issuer.call(rpc, request_class(**names, page_size=1))
        request = request_class(**names, page_size=100, page_token=first.next_page_token)
        rest = getattr(self._acceptor.call(rpc, request), field)
        joined = [*getattr(first, field), *rest]
        self._accept(f"a page token of {rpc}", bool(rest) and joined == list(everything))

    def _cursors(self) -> None:
        cursor = self._watch(self._issuer, "").cursor
        next_events = [
            self._watch(client, cursor).events[0] for client in (self._issuer, self._acceptor)
        ]
        self._accept("a cursor", next_events[0] == next_events[1])

    def _watch(self, client: Contacts, cursor: str) -> audit_pb2.WatchChangesResponse:
        """Returns the first response that has events."""
        request = audit_pb2.WatchChangesRequest(cursor=cursor)
        stream = client.stub.WatchChanges(request, metadata=client.metadata, timeout=DEADLINE)
        response = next(answer for answer in stream if answer.events)
        stream.cancel()
        return response

    def _codes(self, contact: contact_pb2.Contact) -> None:
        request = reference(phone_pb2.CreateOneTimeCodeRequest, contact)
        code = self._issuer.call("CreateOneTimeCode", request).code
        request = reference(
            phone_pb2.CheckOneTimeCodeRequest, contact, code=code, call_id=f"{self._number}-1"
        )
        answer = self._acceptor.call("CheckOneTimeCode", request)
        self._accept("a one-time code", answer.verdict == MATCH)

    def _grants(self, contact: contact_pb2.Contact) -> None:
        request = reference(phone_pb2.SetPhonePasswordRequest, contact, generate=True)
        password = self._issuer.call("SetPhonePassword", request).generated_phone_password
        call_id = f"{self._number}-2"
        request = reference(
            phone_pb2.CheckPhonePasswordRequest, contact, phone_password=password, call_id=call_id
        )
        self._accept(
            "a phone password", self._acceptor.call("CheckPhonePassword", request).verdict == MATCH
        )
        grant = self._issuer.call("CheckPhonePassword", request).grant
        request = reference(
            phone_order_pb2.AuthorizePhoneOrderRequest,
            contact,
            grant=grant,
            call_id=call_id,
            order_type=ORDER_TYPE,
        )
        orders = [self._acceptor.call("AuthorizePhoneOrder", request).order for _ in range(2)]
        self._accept("a grant", all(order.authorization_id for order in orders))
        self._page("ListPhoneOrders", phone_order_pb2.ListPhoneOrdersRequest, "orders")


def rejection(client: Contacts, rpc: str, request: Any) -> str:
    """Returns the reason for which a request is rejected; empty if it is not."""
    try:
        client.call(rpc, request)
    except grpc.RpcError as error:
        return reason_of(error) or str(error.code().name)
    return ""
