"""Failed checks and locks of a customer, and lifting a lock."""

from __future__ import annotations

from collections.abc import Iterable

from contact.v1 import contact_pb2
from rich.text import Text
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Input, Label, Static

import labels
from frame import Dialog, Frame, Table, request
from texts import t


class LocksScreen(Frame[None]):
    """Shows whose phone password is locked, and the checks of today that led to it."""

    BINDINGS = [
        Binding("escape", "back", t("key.back")),
        Binding("f5", "load", t("key.refresh")),
        Binding("u", "unlock", t("key.unlock")),
    ]
    is_of_call = False

    def __init__(self, customer_number: str) -> None:
        super().__init__()
        self._number = customer_number
        self._contacts: list[contact_pb2.Contact] = []

    def body(self) -> Iterable[Widget]:
        yield Label(t("locks.customer"), classes="label")
        yield Input(self._number, id="number", max_length=32)
        yield Table(*map(t, ("column.contact", "column.types", "column.lock")), id="locks")
        yield Static(t("locks.events"), classes="heading")
        columns = ("column.time", "column.event", "column.contact", "column.agent")
        yield Table(*map(t, columns), id="checks")

    def on_mount(self) -> None:
        if self._number:
            self.action_load()
        else:
            self.query_one("#number").focus()

    def on_input_submitted(self) -> None:
        self.action_load()

    @request
    async def action_load(self) -> None:
        await self._load()
        self.say(t("locks.hint"))

    async def _load(self) -> None:
        self._number = self.query_one("#number", Input).value.strip()
        self._contacts = []
        locks, checks = self.query_one("#locks", Table), self.query_one("#checks", Table)
        selected = max(locks.cursor_row, 0)
        locks.clear()
        checks.clear()
        self._contacts = await self.tool.service.contacts(self._number)
        locks.fill(map(self._row, self._contacts), selected)
        locks.focus()
        names = {contact.contact_id: contact.display_name for contact in self._contacts}
        events = await self.tool.service.failed_checks(self._number, labels.today())
        checks.fill(
            (
                labels.clock(event.event_time),
                labels.word("event", event.kind),
                labels.plain(
                    names.get(event.contact_id, event.contact_id[-8:]), width=self.cells(24)
                ),
                labels.plain(event.actor, width=self.cells(16)),
            )
            for event in events
        )

    def _row(self, contact: contact_pb2.Contact) -> Iterable[Text | str]:
        return (
            labels.plain(contact.display_name, width=self.cells(28)),
            labels.plain(labels.types(contact.types), width=self.cells(20)),
            labels.lock(contact.phone_password),
        )

    def action_unlock(self) -> None:
        row = self.query_one("#locks", Table).cursor_row
        if not 0 <= row < len(self._contacts):
            self.say(t("unlock.nothing"), "warning")
        elif self._contacts[row].phone_password.revoked:
            self.say(t("unlock.revoked"), "warning")
        else:
            self.app.push_screen(UnlockDialog(self._contacts[row]), self._unlocked)

    @request
    async def _unlocked(self, contact: contact_pb2.Contact | None) -> None:
        self.say(t("locks.hint"))
        if contact:
            await self._load()
            self.say(t("unlock.done", name=contact.display_name), "success")

    def action_back(self) -> None:
        self.dismiss(None)


class UnlockDialog(Dialog[contact_pb2.Contact]):
    """Asks for the reason, and returns the contact once its lock is lifted."""

    BINDINGS = [Binding("enter", "unlock", t("key.unlock"))]
    is_of_call = False

    def __init__(self, contact: contact_pb2.Contact) -> None:
        super().__init__()
        self._contact = contact

    def body(self) -> Iterable[Widget]:
        name = labels.plain(self._contact.display_name, width=40).plain
        yield Static(t("unlock.title", name=name), markup=False, classes="heading")
        yield Label(t("unlock.reason"), classes="label")
        yield Input(max_length=500)

    def on_input_submitted(self) -> None:
        self.action_unlock()

    @request
    async def action_unlock(self) -> None:
        reason = self.query_one(Input).value.strip()
        if not reason:
            self.say(t("unlock.missing"), "warning")
            return
        contact = self._contact
        self.dismiss(
            await self.tool.service.unlock(contact.customer_number, contact.contact_id, reason)
        )
