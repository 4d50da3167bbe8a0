"""What an authenticated caller may order, and the decision about an order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contact.v1 import contact_pb2, phone_order_pb2
from rich.text import Text
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import DataTable, Static

import labels
from client import ServiceError
from frame import Frame, Table, request
from screens.decision import DecisionDialog
from screens.history import HistoryScreen
from texts import t

NAME, PROVIDER, CUSTOMER = range(3)


class OrdersScreen(Frame[str]):
    """Lists the order options. Ends with an advice for the agent when the proof ends.

    `names` are the names of contacts by their ids, for the history.
    """

    BINDINGS = [
        Binding("escape", "back", t("key.back")),
        Binding("h", "history", t("key.history")),
    ]
    AUTO_FOCUS = "DataTable"

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self._names = names

    def body(self) -> Iterable[Widget]:
        yield Static(classes="heading", id="heading", markup=False)
        yield VerticalScroll(Static(id="limits", markup=False), id="restrictions")
        columns = (t("column.order_type"), t("column.provider"), t("column.own"))
        yield Table(*columns, cursor="cell")
        yield Static(id="cell", markup=False)
        yield Static(t("orders.hint"), classes="hint")

    def on_mount(self) -> None:
        self._load()
        self.set_interval(1.0, self._check_proof)

    @request
    async def _load(self) -> None:
        await self.tool.load_order_types()
        if not (proof := self.call.valid_proof()):
            return
        self.say("")
        name = labels.plain(proof.caller.display_name, width=40).plain
        self.query_one("#heading", Static).update(t("orders.title", name=name))
        self.query_one("#limits", Static).update(self._limits(proof.caller.restrictions))
        table = self.query_one(Table)
        table.fill(
            (
                labels.plain(self.tool.order_types[option.order_type], width=self.cells(28)),
                _cell(option.decision, option.denial),
                _cell(option.customer_administered_decision, option.customer_administered_denial),
            )
            for option in proof.options
        )
        table.move_cursor(row=0, column=PROVIDER)

    def _limits(self, restrictions: contact_pb2.Restrictions) -> Text:
        names = self.tool.order_types
        lines = []
        if restrictions.note:
            lines.append(t("orders.note", note=restrictions.note))
        if restrictions.allowed_order_types:
            lines.append(t("orders.allowed", names=names.join(restrictions.allowed_order_types)))
        if restrictions.denied_order_types:
            lines.append(t("orders.denied", names=names.join(restrictions.denied_order_types)))
        return labels.plain("\n".join(lines) or t("orders.unrestricted"))

    def _check_proof(self) -> None:
        if not self.call.valid_proof() and self.is_current:
            self.dismiss(t("grant.expired"))

    def on_data_table_cell_highlighted(self, event: DataTable.CellHighlighted) -> None:
        proof = self.call.valid_proof()
        if not proof or event.coordinate.row >= len(proof.options):
            return
        if event.coordinate.column == NAME:
            # The name is no choice; a decision needs the administrator of the product.
            self.query_one(Table).move_cursor(column=PROVIDER)
            return
        option, is_own = proof.options[event.coordinate.row], event.coordinate.column == CUSTOMER
        decision = option.customer_administered_decision if is_own else option.decision
        denial = option.customer_administered_denial if is_own else option.denial
        text = t(
            "orders.cell",
            name=self.tool.order_types[option.order_type],
            administrator=labels.administrator(is_own),
            advice=labels.advice(decision, denial),
        )
        self.query_one("#cell", Static).update(labels.plain(text))

    def on_data_table_cell_selected(self, event: DataTable.CellSelected) -> None:
        self._authorize(event.coordinate.row, event.coordinate.column == CUSTOMER)

    @request
    async def _authorize(self, row: int, is_own: bool) -> None:
        if not (proof := self.call.valid_proof()):
            return
        request_ = phone_order_pb2.AuthorizePhoneOrderRequest(
            customer_number=self.call.customer_number,
            contact_id=proof.caller.contact_id,
            grant=proof.grant,
            call_id=self.call.call_id,
            order_type=proof.options[row].order_type,
            customer_administers_product=is_own,
        )
        order = (await self.tool.service.authorize(request_)).order
        if labels.can_be_placed(order):
            self.call.open_orders.add(order.authorization_id)
        self.say("")
        self.app.push_screen(DecisionDialog(order), self._decided)

    def _decided(self, order: phone_order_pb2.PhoneOrder | None) -> None:
        if order:
            self.say(t("order.recorded", outcome=labels.outcome(order)), "success")

    def failed(self, error: ServiceError) -> None:
        if error.reason == "GRANT_INVALID":
            self.call.proof = None
            self.dismiss(str(error))
        else:
            super().failed(error)

    def action_history(self) -> None:
        self.app.push_screen(HistoryScreen(self._names))

    def action_back(self) -> None:
        self.dismiss(None)


def _cell(decision: int, denial: int) -> Text:
    if decision == phone_order_pb2.ORDER_DECISION_DENIED:
        return Text(f"✗ {labels.word('denial', denial)}", style=labels.STYLES[decision])
    return Text(labels.word("option", decision), style=labels.STYLES.get(decision, "bold"))
