"""One customer's story: every RPC of the contract, through the instances in turn."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

from contact.v1 import (
    audit_pb2,
    contact_pb2,
    contact_service_pb2,
    customer_pb2,
    delivery_pb2,
    order_type_pb2,
    phone_order_pb2,
    phone_pb2,
    recipients_pb2,
    review_pb2,
)
from google.protobuf import field_mask_pb2

from failover.service import Service
from support.contacts import CONFIRMED, DEADLINE, Contacts, reference
from support.mailbox import Mail, Mailbox
from support.polling import until
from support.processes import Failed

RPCS = contact_service_pb2.DESCRIPTOR.services_by_name["ContactService"].methods_by_name
ORDER_TYPE = "domain-order"
# A mailbox that rejects temporarily: its mails stay in the outbox.
DEFERRED = "deferred-"
# A mailed one-time code has a line of its own.
CODE = re.compile(r"^\s*(\d{3}) ?(\d{3})\s*$", re.MULTILINE)
MATCH = phone_pb2.PHONE_PASSWORD_VERDICT_MATCH
MASK = field_mask_pb2.FieldMask(paths=["display_name", "restrictions"])


class DeferringMailbox(Mailbox):
    """Rejects some recipients temporarily."""

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address.startswith(DEFERRED):
            return "451 4.3.0 try again later"
        return await super().handle_RCPT(server, session, envelope, address, options)


class Story:
    """Calls the RPCs; every second request goes to the other instance."""

    def __init__(self, service: Service, mailbox: Mailbox, first: int) -> None:
        self._clients = [Contacts(address, service.token) for address in service.addresses]
        self._mailbox = mailbox
        self._turn = first
        self.called: set[tuple[str, int]] = set()
        mark = uuid.uuid4().hex[:10]
        self.number = f"S-{mark.upper()}"
        self.name, self.other_name = f"Anna {mark}", f"Berta {mark}"
        self.email, self.data_email = f"anna-{mark}@muster.example", f"data-{mark}@muster.example"
        self.deferred_email = f"{DEFERRED}{mark}@muster.example"
        self.note = f"note {mark}"
        digits = str(uuid.uuid4().int)[:7]
        self.phone_numbers = [f"+49721{digits}", f"+49722{digits}"]
        self.call_id = f"call-{mark}"
        self.order_reference = f"order-{mark}"

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def secrets(self) -> list[str]:
        """Returns the values that must not outlive the customer."""
        texts = [self.number, self.name, self.other_name, self.email, self.data_email]
        texts += [self.deferred_email, self.note, self.call_id, self.order_reference]
        return texts + self.phone_numbers

    def call(self, rpc: str, request: Any) -> Any:
        """Sends a request through the next instance."""
        return self._next(rpc).call(rpc, request)

    def _next(self, rpc: str) -> Contacts:
        turn = self._turn % len(self._clients)
        self._turn += 1
        self.called.add((rpc, turn))
        return self._clients[turn]

    def play(self) -> None:
        """Calls every RPC but EraseCustomer; leaves rows in every table of a customer."""
        self._order_type()
        self._customer()
        contact = self._contacts()
        self._confirm(self._mailbox.wait_for(self.email))
        self._channels(contact)
        self._orders(contact, self._codes(contact))
        self._phone_password(contact)
        self._emails(contact)
        self._review()
        self._readers()

    def erase(self) -> None:
        request = customer_pb2.EraseCustomerRequest(
            customer_number=self.number, confirm_customer_number=self.number
        )
        self.call("EraseCustomer", request)

    def _order_type(self) -> None:
        order_type = order_type_pb2.OrderType(
            code=ORDER_TYPE, display_name="Domain", offered_by_phone=True
        )
        request = order_type_pb2.UpdateOrderTypeRequest(order_type=order_type, allow_missing=True)
        self.call("UpdateOrderType", request)
        answer = self.call("ListOrderTypes", order_type_pb2.ListOrderTypesRequest())
        assert [each.code for each in answer.order_types] == [ORDER_TYPE]

    def _customer(self) -> None:
        data = customer_pb2.ContactData(email=self.data_email, phone_number=self.phone_numbers[0])
        customer = customer_pb2.Customer(customer_number=self.number, contact_data=data)
        request = customer_pb2.UpdateCustomerRequest(customer=customer, allow_missing=True)
        self.call("UpdateCustomer", request)
        request = customer_pb2.GetCustomerRequest(customer_number=self.number)
        answer = self.call("GetCustomer", request)
        assert answer.customer.contact_data.email == self.data_email

    def _contacts(self) -> contact_pb2.Contact:
        contact = self._create(self.name, self.email, self.phone_numbers)
        doomed = self._create(self.other_name, "", [])
        request = reference(contact_pb2.GetContactRequest, contact)
        assert self.call("GetContact", request).contact.display_name == self.name
        changed = contact_pb2.Contact(
            customer_number=self.number,
            contact_id=doomed.contact_id,
            display_name=f"{self.other_name} Maier",
            restrictions=contact_pb2.Restrictions(note=self.note),
        )
        request = contact_pb2.UpdateContactRequest(
            contact=changed, update_mask=MASK, request_id=str(uuid.uuid4())
        )
        self.call("UpdateContact", request)
        request = reference(contact_pb2.DeleteContactRequest, doomed, request_id=str(uuid.uuid4()))
        self.call("DeleteContact", request)
        request = contact_pb2.ListContactsRequest(customer_number=self.number)
        assert len(self.call("ListContacts", request).contacts) == 1
        return contact

    def _create(self, name: str, email: str, phone_numbers: list[str]) -> contact_pb2.Contact:
        contact = contact_pb2.Contact(
            display_name=name,
            types=[contact_pb2.CONTACT_TYPE_STANDARD],
            phone_numbers=phone_numbers,
        )
        request = contact_pb2.CreateContactRequest(
            customer_number=self.number, contact=contact, email=email, request_id=str(uuid.uuid4())
        )
        return self.call("CreateContact", request).contact

    def _emails(self, contact: contact_pb2.Contact) -> None:
        request = customer_pb2.SetAttentionLineRequest(
            customer_number=self.number, suppressed=True, ordered_by_email=self.data_email
        )
        self.call("SetAttentionLine", request)
        for rpc in ("CancelEmailChange", "RemoveEmail", "ResendEmailConfirmation"):
            request_class = getattr(contact_pb2, f"{rpc}Request")
            self._change_email(contact, self.deferred_email)
            self.call(rpc, reference(request_class, contact))

    def _confirm(self, mail: Mail) -> None:
        request = contact_pb2.ConfirmEmailRequest(token=mail.token)
        self.call("ConfirmEmail", request)
        request = contact_pb2.InspectEmailConfirmationRequest(token=mail.token)
        assert self.call("InspectEmailConfirmation", request).state == CONFIRMED

    def _change_email(self, contact: contact_pb2.Contact, email: str) -> None:
        self.call("ChangeEmail", reference(contact_pb2.ChangeEmailRequest, contact, email=email))

    def _channels(self, contact: contact_pb2.Contact) -> None:
        for number, outcome in (
            ("+4972199999", phone_pb2.CHANNEL_OUTCOME_NOT_ON_FILE),
            (self.phone_numbers[1], phone_pb2.CHANNEL_OUTCOME_ON_FILE),
        ):
            request = phone_pb2.VerifyContactChannelRequest(
                customer_number=self.number, phone_number=number, call_id=self.call_id
            )
            assert self.call("VerifyContactChannel", request).outcome == outcome
        request = phone_pb2.FindCustomersRequest(
            phone_number=self.phone_numbers[1], call_id=self.call_id
        )
        matches = self.call("FindCustomers", request).matches
        assert [match.contact_id for match in matches] == [contact.contact_id]

    def _codes(self, contact: contact_pb2.Contact) -> str:
        """Checks a code of each kind; returns the grant of the second."""
        request = reference(phone_pb2.SendOneTimeCodeRequest, contact, call_id=self.call_id)
        self.call("SendOneTimeCode", request)
        self._check_code(contact, self._mailed_code())
        request = reference(phone_pb2.CreateOneTimeCodeRequest, contact)
        return self._check_code(contact, self.call("CreateOneTimeCode", request).code)

    def _mailed_code(self) -> str:
        def codes() -> list[tuple[str, str]]:
            mails = self._mailbox.mails_to(self.email)
            return [code for mail in mails for code in CODE.findall(mail.text)]

        return "".join(until(codes, f"a code to {self.email}")[0])

    def _check_code(self, contact: contact_pb2.Contact, code: str) -> str:
        request = reference(
            phone_pb2.CheckOneTimeCodeRequest, contact, code=code, call_id=self.call_id
        )
        answer = self.call("CheckOneTimeCode", request)
        assert answer.verdict == MATCH, answer
        return answer.grant

    def _orders(self, contact: contact_pb2.Contact, grant: str) -> None:
        request = reference(
            phone_order_pb2.AuthorizePhoneOrderRequest,
            contact,
            grant=grant,
            call_id=self.call_id,
            order_type=ORDER_TYPE,
        )
        order = self.call("AuthorizePhoneOrder", request).order
        assert order.channel.verified == phone_order_pb2.VERIFIED_CHANNEL_CONTACT_CHANNEL
        names = {"customer_number": self.number, "authorization_id": order.authorization_id}
        request = phone_order_pb2.RecordPhoneOrderOutcomeRequest(
            **names,
            outcome=phone_order_pb2.PHONE_ORDER_OUTCOME_PLACED,
            order_reference=self.order_reference,
        )
        order = self.call("RecordPhoneOrderOutcome", request).order
        request = phone_order_pb2.GetPhoneOrderRequest(**names)
        assert self.call("GetPhoneOrder", request).order == order
        # Of one customer, and of all.
        for filters in ({"customer_number": self.number}, {"start_time": order.create_time}):
            request = phone_order_pb2.ListPhoneOrdersRequest(**filters)
            assert order in self.call("ListPhoneOrders", request).orders

    def _phone_password(self, contact: contact_pb2.Contact) -> None:
        request = reference(phone_pb2.SetPhonePasswordRequest, contact, generate=True)
        password = self.call("SetPhonePassword", request).generated_phone_password
        self._check(contact, "not the password", phone_pb2.PHONE_PASSWORD_VERDICT_NO_MATCH)
        self._check(contact, password, MATCH)
        request = reference(phone_pb2.UnlockPhonePasswordRequest, contact, reason=self.note)
        self.call("UnlockPhonePassword", request)
        self.call("ClearPhonePassword", reference(phone_pb2.ClearPhonePasswordRequest, contact))
        # So that the erased customer has one.
        self.call(
            "SetPhonePassword", reference(phone_pb2.SetPhonePasswordRequest, contact, generate=True)
        )

    def _check(self, contact: contact_pb2.Contact, password: str, verdict: int) -> None:
        request = reference(
            phone_pb2.CheckPhonePasswordRequest,
            contact,
            phone_password=password,
            # The checks of the codes were attempts of the first call.
            call_id=f"{self.call_id}-2",
        )
        answer = self.call("CheckPhonePassword", request)
        assert answer.verdict == verdict, answer

    def _review(self) -> None:
        request = review_pb2.MarkContactsReviewedRequest(customer_number=self.number)
        marked = self.call("MarkContactsReviewed", request).customer.contacts_review
        request = review_pb2.ReviewContactsRequest(customer_number=self.number)
        assert self.call("ReviewContacts", request).last_review == marked

    def _readers(self) -> None:
        purpose = recipients_pb2.PURPOSE_GENERAL
        request = recipients_pb2.ResolveRecipientsRequest(
            customer_number=self.number, purpose=purpose
        )
        assert self.call("ResolveRecipients", request).resolution.recipients
        request = recipients_pb2.BatchResolveRecipientsRequest(customer_number=self.number)
        resolutions = self.call("BatchResolveRecipients", request).resolutions
        assert any(each.purpose == purpose and each.recipients for each in resolutions)
        numbers = [self.number, "S-UNKNOWN"]
        request = recipients_pb2.StreamRecipientsRequest(customer_numbers=numbers, purpose=purpose)
        answers = self._stream("StreamRecipients", iter([request]))
        results = [result for answer in answers for result in answer.results]
        assert [result.WhichOneof("outcome") for result in results] == ["resolution", "error"]
        request = recipients_pb2.StreamRecipientsRequest(
            purpose=purpose, all_customers=recipients_pb2.AllCustomers()
        )
        answers = self._stream("StreamRecipients", iter([request]))
        walked = [result.customer_number for answer in answers for result in answer.results]
        assert self.number in walked
        assert len(set(walked)) == len(walked)
        self._deliveries(purpose)
        request = audit_pb2.ListAuditEventsRequest(customer_number=self.number)
        events = self.call("ListAuditEvents", request).events
        updated = audit_pb2.EVENT_KIND_CONTACT_UPDATED
        self._watch({event.event_id for event in events if event.kind == updated})
        request = customer_pb2.ExportCustomerRequest(customer_number=self.number)
        assert len(self.call("ExportCustomer", request).contacts) == 1

    def _deliveries(self, purpose: recipients_pb2.Purpose) -> None:
        """Reports that a recipient's address failed, and then that it works."""
        request = recipients_pb2.ResolveRecipientsRequest(
            customer_number=self.number, purpose=purpose
        )
        recipient = self.call("ResolveRecipients", request).resolution.recipients[0]
        for status, result in (("FAILED_PERMANENTLY", "MARKED"), ("DELIVERED", "CLEARED")):
            report = delivery_pb2.DeliveryReport(
                customer_number=self.number,
                contact_id=recipient.contact_id,
                email=recipient.email,
                status=f"DELIVERY_STATUS_{status}",
            )
            request = delivery_pb2.ReportDeliveriesRequest(reports=[report], accept_burst=True)
            expected = delivery_pb2.DeliveryReportResult.Value(f"DELIVERY_REPORT_RESULT_{result}")
            assert list(self.call("ReportDeliveries", request).results) == [expected]

    def _watch(self, expected: set[str]) -> None:
        """Reads the feed until it has these events."""
        stream = self._stream("WatchChanges", audit_pb2.WatchChangesRequest())
        for answer in stream:
            expected -= {event.event_id for event in answer.events}
            if not expected:
                stream.cancel()
                return
        raise Failed("the stream ended before it had all events")

    def _stream(self, rpc: str, request: Any) -> Any:
        client = self._next(rpc)
        return getattr(client.stub, rpc)(request, timeout=DEADLINE, metadata=client.metadata)


def missing_calls(stories: list[Story]) -> Iterator[str]:
    """Returns the RPCs that one of the instances did not get."""
    called = set().union(*(story.called for story in stories))
    for rpc in RPCS:
        for turn in range(2):
            if (rpc, turn) not in called:
                yield f"{rpc} was not sent to instance {turn + 1}"
