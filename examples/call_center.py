#!/usr/bin/env python3
"""A call-center agent's tool: who is calling, is it really them, and what may they order?

    pip install -r python/requirements.txt && python/generate.sh
    export CONTACT_SERVICE_TOKEN="$(contact-service token --sub agent-7 --scope \\
        "channels.verify phone_password.check phone_orders.authorize order_types.read")"
    ./call_center.py

Without a terminal the answers are read as lines from standard input, the phone password, too.
"""

from __future__ import annotations

import argparse
import datetime
import getpass
import os
import pathlib
import sys
import uuid
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE / "python" / "generated"))
try:
    from contact.v1 import contact_pb2, contact_service_pb2_grpc, order_type_pb2, phone_pb2
except ImportError:
    sys.exit("there are no stubs yet: run python/generate.sh first")

CHANNEL_OPTIONS = [
    # Part of the contract: balances requests over all instances, and retries a read once if its
    # instance is unavailable. Checks and orders are not repeated: each of them counts.
    ("grpc.service_config", (HERE.parent / "proto/contact/v1/service_config.json").read_text()),
    # By default the backoff between connection attempts grows to two minutes.
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
# The text for the agent by the reason of a rejection. Programs compare the reason, never the text.
EXPLANATIONS = {
    "PHONE_CALL_ATTEMPT_LIMIT": "Three attempts were made in this phone call; it has no more.",
    "AGENT_BLOCKED": "Too many checks failed under your login. It may not check for now.",
    "OVERLOADED": "The service has too much to do, and checked nothing. Please try again.",
    "CONFLICT": "Another user changed the same data at this moment. Please try again.",
    "INVALID_FIELD": "This cannot be right: please check what you typed.",
    "CUSTOMER_NOT_FOUND": "There is no customer with this number.",
    "GRANT_INVALID": "The proof of the phone password has expired. Please ask for it again.",
}
DENIALS = {
    phone_pb2.ORDER_DENIAL_EXCLUDED_BY_PROVIDER: "This cannot be ordered by phone.",
    phone_pb2.ORDER_DENIAL_PORTAL_REQUIRED: "Only in the portal: the customer administers it.",
    phone_pb2.ORDER_DENIAL_RESTRICTED: "The contact's restrictions do not let it order this.",
}

console = Console(highlight=False)


class Rejected(Exception):
    """The service rejected the request: the reason, and how many seconds to wait where that helps."""

    def __init__(self, error: Any) -> None:
        self.reason, self.wait_seconds = error.code().name, 0
        status = rpc_status.from_call(error)  # decoded from grpc-status-details-bin
        for detail in status.details if status else []:
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                self.reason = info.reason
            elif detail.Unpack(retry):
                self.wait_seconds = retry.retry_delay.seconds
        super().__init__(f"{self.reason}: {error.details()}")


class Service:
    """The calls to the service: the four RPCs that one phone call needs."""

    def __init__(self, channel: grpc.Channel, token: str | None) -> None:
        self.stub = contact_service_pb2_grpc.ContactServiceStub(channel)
        self.metadata = [("authorization", f"Bearer {token}")] if token else []
        # Made once a phone call: attempts are counted by it, and a grant is good for this call only.
        self.call_id = str(uuid.uuid4())
        self.customer_number = ""

    def verify_channel(self, channel: str) -> phone_pb2.VerifyContactChannelResponse:
        """Returns the owners of a phone number or e-mail address, if it is on file."""
        request = phone_pb2.VerifyContactChannelRequest(customer_number=self.customer_number)
        # A caller ID may be a URI: sip:+49721913740@pbx.example.
        if "@" in channel and ":" not in channel:
            request.email = channel
        else:
            request.phone_number = channel
        return self._call(self.stub.VerifyContactChannel, request)

    def check_password(self, contact_id: str, candidate: str) -> phone_pb2.CheckPhonePasswordResponse:
        """Whether the phone password is right. A match brings a grant, good for 15 minutes."""
        request = phone_pb2.CheckPhonePasswordRequest(
            customer_number=self.customer_number,
            contact_id=contact_id,
            phone_password=candidate,
            call_id=self.call_id,
        )
        return self._call(self.stub.CheckPhonePassword, request)

    def order_types(self) -> list[order_type_pb2.OrderType]:
        request = order_type_pb2.ListOrderTypesRequest()
        return list(self._call(self.stub.ListOrderTypes, request).order_types)

    def authorize(
        self, contact_id: str, grant: str, order_type: str, customer_administers: bool
    ) -> phone_pb2.AuthorizePhoneOrderResponse:
        """Whether the contact that proved its phone password may place the order."""
        request = phone_pb2.AuthorizePhoneOrderRequest(
            customer_number=self.customer_number,
            contact_id=contact_id,
            grant=grant,
            call_id=self.call_id,
            order_type=order_type,
            customer_administers_product=customer_administers,
        )
        return self._call(self.stub.AuthorizePhoneOrder, request)

    def _call(self, rpc: Any, request: Any) -> Any:
        try:
            # Always give a deadline; without one a call may wait for ever.
            return rpc(request, timeout=5, metadata=self.metadata)
        except grpc.RpcError as error:
            raise Rejected(error) from None


def take_call(service: Service) -> None:
    contact = identify(service)
    # An expired grant is renewed by asking for the phone password again.
    while checked := authenticate(service, contact.contact_id):
        show_restrictions(checked.contact)
        take_orders(service, contact.contact_id, checked.grant)


def identify(service: Service) -> phone_pb2.ChannelMatch:
    """Finds the contact by the caller's number or address. That identifies, and does not authenticate."""
    while True:
        service.customer_number = ask("Customer number")
        try:
            answer = service.verify_channel(ask("Caller's phone number or e-mail address"))
        except Rejected as rejection:
            explain(rejection)
            continue
        show_matches(answer)
        # The customer's own contact data is no contact, and has no phone password.
        contacts = [match for match in answer.matches if match.contact_id]
        if contacts:
            return contacts[choose("Who is calling? Number", [c.contact_id for c in contacts])]


def authenticate(service: Service, contact_id: str) -> phone_pb2.CheckPhonePasswordResponse | None:
    """Asks for the phone password until it matches. None: no attempts are left."""
    while True:
        try:
            # What the caller says goes into the request, and is kept nowhere.
            checked = service.check_password(contact_id, ask("Phone password", hidden=True))
        except Rejected as rejection:
            explain(rejection)
            if rejection.reason in ("PHONE_CALL_ATTEMPT_LIMIT", "AGENT_BLOCKED"):
                return None
            continue
        if checked.verdict == phone_pb2.PHONE_PASSWORD_VERDICT_MATCH:
            verdict("MATCH", "green", f"Good until {local_time(checked.grant_expire_time)}.")
            return checked
        if checked.verdict == phone_pb2.PHONE_PASSWORD_VERDICT_LOCKED:
            if checked.HasField("retry_time"):
                why = f"Failed attempts locked it until {local_time(checked.retry_time)}."
            else:
                why = "Failed attempts revoked it. A new one has to be set in the portal."
            verdict("LOCKED", "red", why)
            return None
        # The service does not distinguish these, so that callers do not learn what is on file.
        verdict("NO_MATCH", "red", "The phone password is wrong, or none is set.")


def take_orders(service: Service, contact_id: str, grant: str) -> None:
    """Has orders decided, until the agent is done or the grant has expired."""
    show_order_types(order_types := service.order_types())
    codes = [kind.code for kind in order_types]
    while True:
        ordered = order_types[choose("Number or code of the order type, or nothing", codes)]
        administers = choose("Does the customer administer the product? y/n", ["y", "n"]) == 0
        try:
            answer = service.authorize(contact_id, grant, ordered.code, administers)
            show_decision(ordered.display_name, answer)
        except Rejected as rejection:
            explain(rejection)
            if rejection.reason == "GRANT_INVALID":
                return


def ask(question: str, hidden: bool = False) -> str:
    """The answer to a question. Giving none ends the call."""
    if sys.stdin.isatty():
        answer = (getpass.getpass if hidden else input)(f"{question}: ")
    else:
        say(f"{question}:")
        answer = sys.stdin.readline()
    if not answer.strip():
        raise EOFError
    return answer.strip()


def choose(question: str, names: list[str]) -> int:
    """The place of what was chosen by its name or number."""
    while (answer := ask(question)) not in names:
        if answer.isdecimal() and 1 <= int(answer) <= len(names):
            return int(answer) - 1
        say("That is none of the answers.", "yellow")
    return names.index(answer)


def say(text: str, style: str = "") -> None:
    console.print(plain(text), style=style, soft_wrap=True)


def verdict(verdict: str, color: str, why: str) -> None:
    text = Text.assemble((f" {verdict} ", f"bold reverse {color}"), "\n\n", plain(why))
    console.print(Panel(text, border_style=color, padding=(1, 2)))


def plain(text: str) -> Text:
    """What people typed is shown as it is: as no markup, and without control characters."""
    return Text("".join(c if c.isprintable() or c == "\n" else "?" for c in text))


def show_matches(answer: phone_pb2.VerifyContactChannelResponse) -> None:
    if answer.outcome == phone_pb2.CHANNEL_OUTCOME_WITHHELD:
        say("WITHHELD: the caller shows no number. Ask for an e-mail address on file.", "yellow")
        return
    if answer.outcome != phone_pb2.CHANNEL_OUTCOME_ON_FILE:
        say("NOT ON FILE for this customer. Try another number or address.", "yellow")
        return
    table = Table("", "name", "types", "match", title="On file for")
    for number, match in enumerate((m for m in answer.matches if m.contact_id), start=1):
        types = [contact_pb2.ContactType.Name(t).replace("CONTACT_TYPE_", "") for t in match.types]
        table.add_row(str(number), plain(match.display_name), ", ".join(types), match_kind(match))
    for match in answer.matches:
        if not match.contact_id:
            table.add_row("", "(the customer's contact data)", "", match_kind(match))
    console.print(table)
    say("A number can be forged: it identifies, it does not authenticate.", "bold")


def match_kind(match: phone_pb2.ChannelMatch) -> str:
    if match.match == phone_pb2.CHANNEL_MATCH_KIND_SAME_LINE:
        return "an extension of the number on file"
    return "exact"


def show_restrictions(contact: contact_pb2.Contact) -> None:
    limits = contact.restrictions
    table = Table(title=plain(f"What {contact.display_name} may order"), show_header=False)
    table.add_row("note", plain(limits.note or "none"))
    table.add_row("allowed", ", ".join(limits.allowed_order_types) or "all")
    table.add_row("denied", ", ".join(limits.denied_order_types) or "none")
    console.print(table)


def show_order_types(order_types: list[order_type_pb2.OrderType]) -> None:
    table = Table("", "code", "name", "", title="Order types")
    for number, order_type in enumerate(order_types, start=1):
        hint = "" if order_type.offered_by_phone else "not by phone"
        table.add_row(str(number), order_type.code, plain(order_type.display_name), hint)
    console.print(table)


def show_decision(name: str, answer: phone_pb2.AuthorizePhoneOrderResponse) -> None:
    if answer.decision == phone_pb2.ORDER_DECISION_ALLOWED:
        verdict("ALLOWED", "green", f"{name}: may be ordered.")
    elif answer.decision == phone_pb2.ORDER_DECISION_AGENT_DECISION:
        verdict("AGENT DECISION", "yellow", f"{name}: you decide. {answer.restrictions_note}")
    else:
        # Whatever a newer service may answer: without a clear yes there is no order.
        why = DENIALS.get(answer.denial, "The service does not allow it.")
        verdict("DENIED", "red", f"{name}: {why}")
    say(f"Keep with the order: authorization {answer.authorization_id}")


def explain(rejection: Rejected) -> None:
    """Explains a rejection. One that is none of the agent's business ends the tool."""
    if rejection.reason not in EXPLANATIONS:
        raise rejection
    wait = f" Wait {rejection.wait_seconds} s." if rejection.wait_seconds else ""
    verdict(rejection.reason, "red", EXPLANATIONS[rejection.reason] + wait)


def local_time(time: Any) -> str:
    return time.ToDatetime(datetime.timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def main() -> None:
    parser = argparse.ArgumentParser(description="Who is calling, and what may they order?")
    parser.add_argument("--target", default="127.0.0.1:50051", help="host and port of the service")
    parser.add_argument("--token", default=os.environ.get("CONTACT_SERVICE_TOKEN"))
    args = parser.parse_args()
    # A service on another machine speaks TLS: grpc.secure_channel(target, credentials).
    with grpc.insecure_channel(args.target, CHANNEL_OPTIONS) as channel:
        try:
            take_call(Service(channel, args.token))
        except (EOFError, KeyboardInterrupt):
            pass
        except Rejected as rejection:
            sys.exit(str(rejection))
    say("The call has ended.")


if __name__ == "__main__":
    main()
