"""The client of the service: one method for each RPC that the tool uses."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import grpc
from contact.v1 import (
    audit_pb2,
    contact_pb2,
    contact_service_pb2_grpc,
    order_type_pb2,
    phone_order_pb2,
    phone_pb2,
)
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from settings import Settings
from texts import has, t

SERVICE_CONFIG = (
    pathlib.Path(__file__).resolve().parents[2] / "proto/contact/v1/service_config.json"
)
MAX_PAGE = 1000
FAILED_CHECKS = (
    audit_pb2.EVENT_KIND_CONTACT_PHONE_PASSWORD_FAILED,
    audit_pb2.EVENT_KIND_CONTACT_PHONE_PASSWORD_REFUSED,
    audit_pb2.EVENT_KIND_CONTACT_ONE_TIME_CODE_FAILED,
    audit_pb2.EVENT_KIND_CONTACT_ONE_TIME_CODE_REFUSED,
)


class ServiceError(Exception):
    """A request that failed: the reason for the program, and a sentence for the agent."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code().name
        self.reason = self.code
        text, metadata = "", {}
        status = rpc_status.from_call(error)  # decoded from grpc-status-details-bin
        for detail in status.details if status else []:
            info, localized = error_details_pb2.ErrorInfo(), error_details_pb2.LocalizedMessage()
            violations = error_details_pb2.BadRequest()
            if detail.Unpack(info):
                self.reason, metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(localized):
                text = localized.message
            elif detail.Unpack(violations):
                text = _text_of(violations) or text
        # The service did not answer at all, or a proxy answered instead.
        fallback = f"error.{self.code}" if has(f"error.{self.code}") else "error.other"
        sentences = [text or t(fallback)]
        if has(hint := f"hint.{self.reason}"):
            sentences.append(t(hint, scope=metadata.get("scope", "?")))
        super().__init__(f"{' '.join(sentences)} ({self.reason})")


def _text_of(violations: error_details_pb2.BadRequest) -> str:
    """Returns the texts at the fields, which say more than the text of the whole error."""
    return " ".join(
        each.localized_message.message or each.description for each in violations.field_violations
    )


class Service:
    """The RPCs. Each has a deadline and raises ServiceError."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        options = [
            # Part of the contract: balances requests over all instances, and retries a read once if its
            # instance is unavailable. Checks and orders are never repeated: each of them counts.
            ("grpc.service_config", SERVICE_CONFIG.read_text(encoding="utf-8")),
            # By default the backoff between connection attempts grows to two minutes.
            ("grpc.max_reconnect_backoff_ms", 2_000),
        ]
        if settings.credentials:
            self._channel = grpc.aio.secure_channel(settings.target, settings.credentials, options)
        else:
            self._channel = grpc.aio.insecure_channel(settings.target, options)
        self._stub = contact_service_pb2_grpc.ContactServiceStub(self._channel)

    async def close(self) -> None:
        await self._channel.close(None)

    async def find_customers(self, channel: str, call_id: str) -> phone_pb2.FindCustomersResponse:
        request = phone_pb2.FindCustomersRequest(call_id=call_id, **_channel_field(channel))
        return await self._send("FindCustomers", request)

    async def verify_channel(
        self, customer_number: str, channel: str, call_id: str
    ) -> phone_pb2.VerifyContactChannelResponse:
        request = phone_pb2.VerifyContactChannelRequest(
            customer_number=customer_number, call_id=call_id, **_channel_field(channel)
        )
        return await self._send("VerifyContactChannel", request)

    async def contacts(self, customer_number: str) -> list[contact_pb2.Contact]:
        # A customer has at most 100 contacts: one page.
        request = contact_pb2.ListContactsRequest(
            customer_number=customer_number, page_size=MAX_PAGE
        )
        return list((await self._send("ListContacts", request)).contacts)

    async def check_password(
        self, customer_number: str, contact_id: str, candidate: str, call_id: str
    ) -> phone_pb2.CheckPhonePasswordResponse:
        request = phone_pb2.CheckPhonePasswordRequest(
            customer_number=customer_number,
            contact_id=contact_id,
            phone_password=candidate,
            call_id=call_id,
        )
        return await self._send("CheckPhonePassword", request)

    async def send_code(
        self, customer_number: str, contact_id: str, call_id: str
    ) -> phone_pb2.SendOneTimeCodeResponse:
        request = phone_pb2.SendOneTimeCodeRequest(
            customer_number=customer_number, contact_id=contact_id, call_id=call_id
        )
        return await self._send("SendOneTimeCode", request)

    async def check_code(
        self, customer_number: str, contact_id: str, code: str, call_id: str
    ) -> phone_pb2.CheckOneTimeCodeResponse:
        request = phone_pb2.CheckOneTimeCodeRequest(
            customer_number=customer_number, contact_id=contact_id, code=code, call_id=call_id
        )
        return await self._send("CheckOneTimeCode", request)

    async def order_types(self) -> list[order_type_pb2.OrderType]:
        # Retired ones have names too, for the orders of the past.
        request = order_type_pb2.ListOrderTypesRequest(show_retired=True)
        return list((await self._send("ListOrderTypes", request)).order_types)

    async def authorize(
        self, request: phone_order_pb2.AuthorizePhoneOrderRequest
    ) -> phone_order_pb2.AuthorizePhoneOrderResponse:
        return await self._send("AuthorizePhoneOrder", request)

    async def record_outcome(
        self, request: phone_order_pb2.RecordPhoneOrderOutcomeRequest
    ) -> phone_order_pb2.PhoneOrder:
        return (await self._send("RecordPhoneOrderOutcome", request)).order

    async def order(
        self, customer_number: str, authorization_id: str
    ) -> phone_order_pb2.PhoneOrder:
        request = phone_order_pb2.GetPhoneOrderRequest(
            customer_number=customer_number, authorization_id=authorization_id
        )
        return (await self._send("GetPhoneOrder", request)).order

    async def orders(
        self,
        customer_number: str = "",
        agent: str = "",
        start: datetime | None = None,
        page_token: str = "",
    ) -> phone_order_pb2.ListPhoneOrdersResponse:
        request = phone_order_pb2.ListPhoneOrdersRequest(
            customer_number=customer_number,
            agent=agent,
            start_time=_timestamp(start),
            page_token=page_token,
        )
        return await self._send("ListPhoneOrders", request)

    async def failed_checks(
        self, customer_number: str, start: datetime
    ) -> Sequence[audit_pb2.AuditEvent]:
        """Returns the failed and refused checks of a customer since a time, at most 1,000, newest first."""
        request = audit_pb2.ListAuditEventsRequest(
            customer_number=customer_number,
            kinds=FAILED_CHECKS,
            start_time=_timestamp(start),
            page_size=MAX_PAGE,
        )
        return (await self._send("ListAuditEvents", request)).events

    async def unlock(
        self, customer_number: str, contact_id: str, reason: str
    ) -> contact_pb2.Contact:
        request = phone_pb2.UnlockPhonePasswordRequest(
            customer_number=customer_number, contact_id=contact_id, reason=reason
        )
        return (await self._send("UnlockPhonePassword", request)).contact

    async def _send(self, rpc: str, request: Any) -> Any:
        metadata = [("accept-language", self._settings.language)]
        if token := self._settings.token():
            metadata.append(("authorization", f"Bearer {token}"))
        try:
            return await getattr(self._stub, rpc)(
                request, timeout=self._settings.timeout, metadata=metadata
            )
        except grpc.aio.AioRpcError as error:
            # Without the request in its context, which may contain a phone password.
            raise ServiceError(error) from None


def _channel_field(channel: str) -> dict[str, Any]:
    """Returns the field for a number or address. A caller ID may be a URI: sip:+49721913740@pbx.example."""
    is_email = "@" in channel and ":" not in channel
    return {"email" if is_email else "phone_number": channel}


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
