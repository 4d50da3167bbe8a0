"""Dialogs for what a caller says to prove who they are."""

from __future__ import annotations

from collections.abc import Iterable

from contact.v1 import contact_pb2, phone_pb2
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Input, Static

import labels
from frame import Dialog, request
from phone_call import Proof
from texts import t

Checked = phone_pb2.CheckPhonePasswordResponse | phone_pb2.CheckOneTimeCodeResponse


class CheckDialog(Dialog[Proof]):
    """Asks for a phone password or a code until it matches, and returns the proof.

    What was typed is in the field until Enter, then in the request, and nowhere afterwards.
    """

    BINDINGS = [Binding("enter", "check", t("key.check"))]

    method: str
    is_masked: bool

    def __init__(self, contact: contact_pb2.Contact, advice: str = "") -> None:
        super().__init__()
        self._contact = contact
        self._advice = advice

    def body(self) -> Iterable[Widget]:
        name = labels.plain(self._contact.display_name, width=40).plain
        yield Static(t(f"{self.method}.title", name=name), markup=False, classes="heading")
        yield Static(t(f"{self.method}.hint"), classes="hint")
        yield Input(password=self.is_masked, max_length=256)

    def on_mount(self) -> None:
        self.say(self._advice, "success")

    def on_input_submitted(self) -> None:
        self.action_check()

    @request
    async def action_check(self) -> None:
        candidate, field = self.query_one(Input).value, self.query_one(Input)
        field.value = ""
        if not candidate.strip():
            self.say(t("check.empty"), "warning")
            return
        checked = await self.check(candidate)
        del candidate
        if checked.verdict == phone_pb2.PHONE_PASSWORD_VERDICT_MATCH:
            self.dismiss(Proof.of(self.method, checked))
        elif checked.verdict != phone_pb2.PHONE_PASSWORD_VERDICT_LOCKED:
            self.call.failures += 1
            self.say(t(f"{self.method}.no_match", count=self.call.failures), "error")
        elif checked.HasField("retry_time"):
            self.say(t("check.locked", until=labels.clock(checked.retry_time)), "error")
        else:
            self.say(t("check.revoked"), "error")

    async def check(self, candidate: str) -> Checked:
        raise NotImplementedError


class PasswordDialog(CheckDialog):
    """Asks for the phone password."""

    method = "password"
    is_masked = True

    async def check(self, candidate: str) -> Checked:
        return await self.tool.service.check_password(
            self.call.customer_number, self._contact.contact_id, candidate, self.call.call_id
        )


class CodeDialog(CheckDialog):
    """Asks for a one-time code. It is readable: the agent compares it with what the caller repeats."""

    method = "code"
    is_masked = False

    async def check(self, candidate: str) -> Checked:
        return await self.tool.service.check_code(
            self.call.customer_number, self._contact.contact_id, candidate, self.call.call_id
        )
