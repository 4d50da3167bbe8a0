"""The beginning of a phone call: finds the customer."""

from __future__ import annotations

from collections.abc import Iterable

from contact.v1 import phone_order_pb2, phone_pb2
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import DataTable, Input, Label

import labels
from frame import Frame, Table, request
from phone_call import CallerId
from screens.customer import CustomerScreen
from texts import t

OUTCOMES = {
    phone_pb2.CHANNEL_OUTCOME_ON_FILE: CallerId.ON_FILE,
    phone_pb2.CHANNEL_OUTCOME_NOT_ON_FILE: CallerId.NOT_ON_FILE,
    phone_pb2.CHANNEL_OUTCOME_WITHHELD: CallerId.WITHHELD,
}
# What the agent does then, by a result of FindCustomers and of VerifyContactChannel.
ADVICE = {
    CallerId.NOT_ON_FILE: ("start.not_on_file", "customer.not_on_file"),
    CallerId.WITHHELD: ("start.withheld", "customer.withheld"),
}


class StartScreen(Frame[None]):
    """Takes the caller's number or the customer number, and lists the customers it belongs to."""

    BINDINGS = [
        Binding("enter", "find", t("key.find")),
        Binding("f8", "supervisor", t("key.supervisor")),
        Binding("ctrl+q", "app.quit", t("key.quit")),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._matches: list[phone_pb2.CustomerMatch] = []

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="fields"):
            with Vertical():
                yield Label(t("start.channel"), classes="label")
                yield Input(id="channel", value=self.tool.settings.incoming)
            with Vertical():
                yield Label(t("start.customer"), classes="label")
                yield Input(id="number", max_length=32)
        yield Table(*(t(f"column.{name}") for name in ("customer", "contact", "types", "match")))

    def on_mount(self) -> None:
        self.say(t("start.hint"))
        if self.tool.settings.incoming:
            self.action_find()

    def restart(self) -> None:
        """Begins the next phone call with empty fields."""
        # A response to the last one must not get into the next one.
        self.workers.cancel_node(self)
        for field in self.query(Input):
            field.value = ""
        self._show([])
        self.query_one("#channel").focus()
        self.say(t("start.ended"), "success")
        self.show_call()

    def on_input_submitted(self) -> None:
        self.action_find()

    @request
    async def action_find(self) -> None:
        channel = self.query_one("#channel", Input).value.strip()
        number = self.query_one("#number", Input).value.strip()
        self._show([])
        self.call.select_customer("", {})
        self.call.channel, self.call.caller_id = channel, CallerId.UNCHECKED
        if number:
            await self._open(number, channel)
        elif channel:
            await self._find(channel)
        else:
            self.say(t("start.nothing"), "warning")

    async def _find(self, channel: str) -> None:
        found = await self.tool.service.find_customers(channel, self.call.call_id)
        self.call.caller_id = OUTCOMES.get(found.outcome, CallerId.UNCHECKED)
        self._show(list(found.matches))
        if found.truncated:
            self.say(t("start.truncated"), "warning")
        elif found.matches:
            self.say(t("start.found"), "success")
        else:
            self.say(t(ADVICE.get(self.call.caller_id, ADVICE[CallerId.NOT_ON_FILE])[0]), "warning")
        # The table has the matches, the other field takes the customer number.
        self.query_one(Table if found.matches else "#number").focus()

    async def _open(self, number: str, channel: str) -> None:
        """Opens the customer that the caller names. A known number is verified for it in this call."""
        contacts = await self.tool.service.contacts(number)
        self.call.select_customer(number, {})
        advice = ""
        if channel:
            verified = await self.tool.service.verify_channel(number, channel, self.call.call_id)
            self.call.caller_id = OUTCOMES.get(verified.outcome, CallerId.UNCHECKED)
            self.call.matches = {match.contact_id: match.match for match in verified.matches}
            advice = ADVICE.get(self.call.caller_id, ("", ""))[1]
        self.say("")
        self.app.push_screen(CustomerScreen(contacts, advice))

    def _show(self, matches: list[phone_pb2.CustomerMatch]) -> None:
        self._matches = matches
        self.query_one(Table).fill(
            (
                match.customer_number,
                labels.plain(match.display_name or t("contact_data"), width=self.cells(28)),
                labels.plain(labels.types(match.types), width=self.cells(22)),
                labels.word("match", match.match),
            )
            for match in matches
        )

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        self._choose(self._matches[event.cursor_row])

    @request
    async def _choose(self, chosen: phone_pb2.CustomerMatch) -> None:
        number = chosen.customer_number
        contacts = await self.tool.service.contacts(number)
        kinds: dict[str, phone_order_pb2.ChannelMatchKind] = {
            match.contact_id: match.match
            for match in self._matches
            if match.customer_number == number
        }
        self.call.select_customer(number, kinds)
        self.say("")
        advice = "" if chosen.contact_id else "customer.contact_data"
        self.app.push_screen(CustomerScreen(contacts, advice, chosen.contact_id))
