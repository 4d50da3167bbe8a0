"""The supervisor's view: the orders of today over all customers."""

from __future__ import annotations

from collections.abc import Iterable

from contact.v1 import phone_order_pb2
from rich.text import Text
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Input, Label

import labels
from client import ServiceError
from frame import Table
from screens.locks import LocksScreen
from screens.order_list import OrderList
from texts import t


class SupervisorScreen(OrderList):
    """Lists the orders of today, of all agents or of one."""

    BINDINGS = [
        Binding("f6", "locks", t("key.locks")),
        Binding("escape,f8", "agent", t("key.agent")),
    ]
    is_of_call = False
    columns = ("time", "agent", "customer", "order_type", "decision", "outcome")

    def heading(self) -> str:
        return t("supervisor.title")

    def body(self) -> Iterable[Widget]:
        yield Label(t("supervisor.agent"), classes="label")
        yield Input(id="agent", max_length=255)
        yield from super().body()

    def on_input_submitted(self) -> None:
        self.query_one(Table).focus()
        self.action_refresh()

    async def fetch(self, page_token: str) -> phone_order_pb2.ListPhoneOrdersResponse:
        agent = self.query_one("#agent", Input).value.strip()
        return await self.tool.service.orders(
            agent=agent, start=labels.today(), page_token=page_token
        )

    def advice(self) -> str:
        if not self.orders:
            return t("supervisor.empty")
        return t("supervisor.hint", count=len(self.orders))

    def row(self, order: phone_order_pb2.PhoneOrder) -> Iterable[Text | str]:
        return (
            labels.when(order.create_time),
            labels.plain(order.agent, width=self.cells(10)),
            labels.plain(order.customer_number, width=self.cells(10)),
            labels.plain(self.tool.order_types[order.order_type], width=self.cells(15)),
            labels.decision(order.decision),
            labels.outcome(order),
        )

    async def load_names(self, customer_number: str) -> None:
        try:
            contacts = await self.tool.service.contacts(customer_number)
        except ServiceError:
            # The customer may have been erased; the order is shown with ids.
            contacts = []
        self.names = {contact.contact_id: contact.display_name for contact in contacts}

    def action_locks(self) -> None:
        row = self.query_one(Table).cursor_row
        number = self.orders[row].customer_number if 0 <= row < len(self.orders) else ""
        self.app.push_screen(LocksScreen(number))

    def action_agent(self) -> None:
        self.dismiss(None)
