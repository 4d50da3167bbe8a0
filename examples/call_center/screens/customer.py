"""The contacts of a customer: selects the one who is speaking, and starts the checks."""

from __future__ import annotations

from collections.abc import Iterable

from contact.v1 import contact_pb2
from rich.text import Text
from textual.binding import Binding
from textual.widget import Widget

import labels
from frame import Frame, Table, request
from phone_call import Proof
from screens.checks import CodeDialog, PasswordDialog
from screens.history import HistoryScreen
from screens.orders import OrdersScreen
from texts import t


class CustomerScreen(Frame[None]):
    """Lists the contacts of the customer; `advice` is the key of a text for the agent."""

    BINDINGS = [
        Binding("escape", "back", t("key.back")),
        Binding("p", "password", t("key.password")),
        Binding("m", "mail_code", t("key.mail_code")),
        Binding("c", "code", t("key.code")),
        Binding("o", "orders", t("key.orders")),
        Binding("h", "history", t("key.history")),
    ]

    def __init__(
        self, contacts: list[contact_pb2.Contact], advice: str = "", selected_id: str = ""
    ) -> None:
        super().__init__()
        self._contacts = contacts
        self._advice = advice
        self._selected_id = selected_id

    def body(self) -> Iterable[Widget]:
        yield Table(
            *(t(f"column.{name}") for name in ("contact", "function", "types", "this_call"))
        )

    def on_mount(self) -> None:
        # Callers from the contact's own number come first.
        wanted = self._selected_id or next((key for key in self.call.matches if key), "")
        ids = [contact.contact_id for contact in self._contacts]
        self.query_one(Table).fill(
            map(self._row, self._contacts), ids.index(wanted) if wanted in ids else 0
        )
        if not self._contacts:
            self.say(t("customer.no_contacts"), "warning")
        elif self._advice:
            self.say(t(self._advice), "warning")
        else:
            self.say(t("customer.choose"))

    def _row(self, contact: contact_pb2.Contact) -> Iterable[Text | str]:
        match = self.call.matches.get(contact.contact_id)
        # Neither addresses nor numbers: an agent who does not see them cannot give them away.
        return (
            labels.plain(contact.display_name, width=self.cells(28)),
            labels.plain(contact.position or contact.department, width=self.cells(16)),
            labels.plain(labels.types(contact.types), width=self.cells(20)),
            labels.word("match", match) if match else t("bar.none"),
        )

    def on_data_table_row_highlighted(self) -> None:
        self._select()
        self.show_call()

    def _select(self) -> contact_pb2.Contact | None:
        """Returns the contact at the cursor, which is the one of the phone call from now on.

        Read from the table: a key may be pressed before the message about the cursor arrives.
        """
        row = self.query_one(Table).cursor_row
        self.call.contact = self._contacts[row] if 0 <= row < len(self._contacts) else None
        return self.call.contact

    def on_data_table_row_selected(self) -> None:
        if self._select() and self.call.valid_proof():
            self.action_orders()
        else:
            self.action_password()

    def action_password(self) -> None:
        if contact := self._select():
            self.app.push_screen(PasswordDialog(contact), self._proved)

    def action_code(self) -> None:
        if contact := self._select():
            self.app.push_screen(CodeDialog(contact), self._proved)

    @request
    async def action_mail_code(self) -> None:
        if not (contact := self._select()):
            self.say(t("customer.no_contacts"), "warning")
            return
        sent = await self.tool.service.send_code(
            self.call.customer_number, contact.contact_id, self.call.call_id
        )
        self.say("")
        advice = t("code.sent", until=labels.clock(sent.expire_time))
        self.app.push_screen(CodeDialog(contact, advice), self._proved)

    def _proved(self, proof: Proof | None) -> None:
        if proof:
            self.call.proof = proof
            self.show_call()
            self.action_orders()

    def action_orders(self) -> None:
        if self._select() and self.call.valid_proof():
            self.say("")
            self.app.push_screen(OrdersScreen(self._names()), self._orders_left)
        else:
            self.say(t("customer.choose"), "warning")

    def _orders_left(self, advice: str | None) -> None:
        self.show_call()
        if advice:
            self.say(advice, "error")

    def action_history(self) -> None:
        self.app.push_screen(HistoryScreen(self._names()))

    def _names(self) -> dict[str, str]:
        return {contact.contact_id: contact.display_name for contact in self._contacts}

    def action_back(self) -> None:
        self.call.select_customer("", {})
        self.dismiss(None)
