"""The phone orders of a customer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contact.v1 import phone_order_pb2
from rich.text import Text
from textual.binding import Binding

import labels
from screens.decision import DecisionDialog
from screens.order_list import OrderList
from texts import t


class HistoryScreen(OrderList):
    """Lists the orders of the customer on the phone. An open one can be given its outcome."""

    BINDINGS = [Binding("escape", "back", t("key.back"))]
    columns = ("time", "contact", "order_type", "decision", "outcome")

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self.names = names

    def heading(self) -> str:
        return t("history.title", customer=self.call.customer_number)

    async def fetch(self, page_token: str) -> phone_order_pb2.ListPhoneOrdersResponse:
        return await self.tool.service.orders(self.call.customer_number, page_token=page_token)

    def advice(self) -> str:
        return t("history.hint" if self.orders else "history.empty")

    def row(self, order: phone_order_pb2.PhoneOrder) -> Iterable[Text | str]:
        return (
            labels.when(order.create_time),
            # A contact that was deleted has no name any more.
            labels.plain(
                self.names.get(order.contact_id, order.contact_id[-8:]), width=self.cells(16)
            ),
            labels.plain(self.tool.order_types[order.order_type], width=self.cells(20)),
            labels.decision(order.decision),
            labels.outcome(order),
        )

    def show_order(self, order: phone_order_pb2.PhoneOrder) -> None:
        if labels.can_be_placed(order) and not order.outcome:
            self.app.push_screen(DecisionDialog(order), self._decided)
        else:
            super().show_order(order)

    def _decided(self, order: phone_order_pb2.PhoneOrder | None) -> None:
        if order:
            self.action_refresh()

    def action_back(self) -> None:
        self.dismiss(None)
