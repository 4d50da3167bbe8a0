"""The decision about an order, and the record of its outcome."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import cast

from contact.v1 import phone_order_pb2
from rich.text import Text
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Input, Label, Static

import labels
from client import ServiceError
from frame import Dialog, request
from texts import t


class DecisionDialog(Dialog[phone_order_pb2.PhoneOrder]):
    """Shows the decision; returns the order once its outcome is recorded."""

    BINDINGS = [
        Binding("f2", "record(1)", t("key.placed")),
        Binding("f3", "record(2)", t("key.not_placed")),
        # While the field below the note has the focus.
        Binding("pagedown", "scroll_note(1)", show=False),
        Binding("pageup", "scroll_note(-1)", show=False),
    ]
    AUTO_FOCUS = "Input"

    def __init__(self, order: phone_order_pb2.PhoneOrder) -> None:
        super().__init__()
        self._order = order
        self._request = phone_order_pb2.RecordPhoneOrderOutcomeRequest()

    def body(self) -> Iterable[Widget]:
        order = self._order
        style = labels.BADGES.get(order.decision, "bold reverse")
        yield Static(
            Text.assemble((f" {labels.word('verdict', order.decision)} ", style)), id="verdict"
        )
        name = self.tool.order_types[order.order_type]
        yield Static(
            f"{name}, {labels.administrator(order.customer_administers_product)}",
            markup=False,
            classes="heading",
        )
        yield Static(labels.advice(order.decision, order.denial), classes="hint")
        if order.decision == phone_order_pb2.ORDER_DECISION_AGENT_DECISION:
            note = labels.plain(order.judged_by.restrictions.note)
            yield VerticalScroll(Static(note), id="note")
        yield Label(t("order.keep", id=order.authorization_id), markup=False, classes="label")
        if labels.can_be_placed(order):
            yield Label(t("order.reference"), classes="label")
            yield Input(max_length=200)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "record":
            return labels.can_be_placed(self._order)
        return super().check_action(action, parameters)

    def action_scroll_note(self, pages: int) -> None:
        for note in self.query(VerticalScroll):
            note.scroll_relative(y=pages * note.size.height, animate=False)

    def on_input_submitted(self) -> None:
        # Enter would have to guess which outcome is meant.
        self.say(t("order.choose"), "warning")

    @request
    async def action_record(self, outcome: int) -> None:
        wanted = phone_order_pb2.RecordPhoneOrderOutcomeRequest(
            customer_number=self._order.customer_number,
            authorization_id=self._order.authorization_id,
            outcome=cast(phone_order_pb2.PhoneOrderOutcome, outcome),
            order_reference=self.query_one(Input).value.strip(),
            request_id=self._request.request_id,
        )
        if wanted != self._request:
            # The same id for a repetition only: then nothing is recorded twice after a lost response.
            wanted.request_id = str(uuid.uuid4())
        self._request = wanted
        order = await self.tool.service.record_outcome(wanted)
        self.call.open_orders.discard(order.authorization_id)
        self.dismiss(order)

    def failed(self, error: ServiceError) -> None:
        if error.reason == "OUTCOME_ALREADY_RECORDED":
            self.call.open_orders.discard(self._order.authorization_id)
        super().failed(error)
