"""The state of one phone call. It is dropped as a whole when the call ends."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum

from contact.v1 import contact_pb2, phone_order_pb2, phone_pb2


class CallerId(Enum):
    """The result of looking up the caller's number or the writer's address."""

    UNCHECKED = "unchecked"
    WITHHELD = "withheld"
    NOT_ON_FILE = "unknown"
    ON_FILE = "on_file"


@dataclass
class Proof:
    """A match of a phone password or a one-time code."""

    method: str  # "password" or "code", as texts name them
    # Excluded from representations, so that no error report shows it.
    grant: str = field(repr=False)
    expire_time: datetime
    caller: phone_pb2.Caller
    options: list[phone_pb2.OrderOption]

    @classmethod
    def of(
        cls,
        method: str,
        checked: phone_pb2.CheckPhonePasswordResponse | phone_pb2.CheckOneTimeCodeResponse,
    ) -> Proof:
        expire_time = checked.grant_expire_time.ToDatetime(timezone.utc)
        return cls(method, checked.grant, expire_time, checked.caller, list(checked.order_options))

    def is_valid(self) -> bool:
        return datetime.now(timezone.utc) < self.expire_time


@dataclass
class PhoneCall:
    """A phone call, or a conversation by e-mail."""

    # Attempts are counted by it and grants are bound to it: it must not be guessable.
    call_id: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    channel: str = ""
    caller_id: CallerId = CallerId.UNCHECKED
    customer_number: str = ""
    # How the channel matches, by contact id; "" is the customer's contact data.
    matches: dict[str, phone_order_pb2.ChannelMatchKind] = field(default_factory=dict)
    contact: contact_pb2.Contact | None = None
    proof: Proof | None = None
    # Checks of this call that did not match; the service counts by customer.
    failures: int = 0
    # Orders of this call without an outcome.
    open_orders: set[str] = field(default_factory=set)
    # true: the agent was reminded of them.
    is_reminded: bool = False

    def select_customer(
        self, number: str, matches: dict[str, phone_order_pb2.ChannelMatchKind]
    ) -> None:
        """Goes on with this customer. A proof for another one ends."""
        self.customer_number, self.matches = number, matches
        self.contact = self.proof = None

    def valid_proof(self) -> Proof | None:
        """Returns the proof of the selected contact, and drops one that has expired."""
        if self.proof and not self.proof.is_valid():
            self.proof = None
        if self.proof and self.contact and self.contact.contact_id == self.proof.caller.contact_id:
            return self.proof
        return None
