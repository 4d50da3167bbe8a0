"""One phone order with all that is on record about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from contact.v1 import phone_order_pb2
from rich.table import Table as Grid
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

import labels
from frame import Dialog
from texts import t


class DetailDialog(Dialog[None]):
    """Shows an order; `names` are the names of contacts by their ids."""

    def __init__(
        self, order: phone_order_pb2.PhoneOrder, names: Mapping[str, str], is_of_call: bool
    ) -> None:
        super().__init__()
        self.is_of_call = is_of_call
        self._order = order
        self._names = names

    def body(self) -> Iterable[Widget]:
        grid = Grid.grid(padding=(0, 1))
        for label, value in self._rows():
            grid.add_row(labels.plain(label, "dim"), labels.plain(value))
        yield Static(t("detail.title"), classes="heading")
        yield VerticalScroll(Static(grid), id="details")

    def _rows(self) -> Iterator[tuple[str, str]]:
        order = self._order
        names = self.tool.order_types
        decision = labels.word("decision", order.decision)
        if not labels.can_be_placed(order):
            decision += f": {labels.word('denial', order.denial)}"
        yield t("column.order_type"), names[order.order_type]
        yield t("detail.administers"), labels.administrator(order.customer_administers_product)
        yield t("column.decision"), decision
        yield t("detail.time"), labels.clock(order.create_time)
        yield t("column.agent"), order.agent
        yield t("column.customer"), order.customer_number
        yield t("column.contact"), self._names.get(order.contact_id, order.contact_id)
        yield t("detail.authentication"), labels.word("authentication", order.authentication)
        yield t("detail.channel"), self._channel()
        yield t("detail.judged"), self._judged()
        restrictions = order.judged_by.restrictions
        if restrictions.note:
            yield t("detail.restrictions"), t("orders.note", note=restrictions.note)
        if restrictions.allowed_order_types:
            allowed = names.join(restrictions.allowed_order_types)
            yield t("detail.restrictions"), t("orders.allowed", names=allowed)
        if restrictions.denied_order_types:
            denied = names.join(restrictions.denied_order_types)
            yield t("detail.restrictions"), t("orders.denied", names=denied)
        yield t("column.outcome"), labels.outcome(order)
        if order.HasField("outcome_time"):
            yield t("detail.outcome_time"), labels.clock(order.outcome_time)
        if order.order_reference:
            yield t("column.reference"), order.order_reference
        yield t("detail.authorization"), order.authorization_id
        yield t("detail.call"), order.call_id

    def _channel(self) -> str:
        channel = self._order.channel
        verified = labels.word("channel", channel.verified)
        return f"{verified}, {labels.word('match', channel.match)}" if channel.match else verified

    def _judged(self) -> str:
        judged = self._order.judged_by
        parts = [t("judged.offered" if judged.offered_by_phone else "judged.not_offered")]
        if judged.system_management:
            parts.append(t("judged.system"))
        if judged.requires_verified_channel:
            parts.append(t("judged.channel"))
        if judged.retired:
            parts.append(t("judged.retired"))
        return ", ".join(parts)
