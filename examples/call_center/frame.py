"""The parts that all screens share: state of the tool, bar of the phone call, messages, requests."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar, cast

from contact.v1 import phone_order_pb2
from rich.text import Text
from rich.traceback import Traceback
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import DataTable, Footer, Static

import labels
from client import Service, ServiceError
from phone_call import CallerId, PhoneCall
from settings import Settings
from texts import t

Result = TypeVar("Result")


class Tool(App[None], inherit_bindings=False):
    """The state of the tool. Nothing of it is written to a file."""

    CSS_PATH = "style.tcss"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.title = t("app.title")
        self.settings = settings
        self.phone_call = PhoneCall()
        self.order_types = labels.OrderTypeNames()
        self._service: Service | None = None

    @property
    def service(self) -> Service:
        # Created by the first request: the channel belongs to the running event loop.
        if self._service is None:
            self._service = Service(self.settings)
        return self._service

    def show_supervisor(self) -> None:
        raise NotImplementedError

    def end_call(self, frame: Frame[Any]) -> None:
        raise NotImplementedError

    async def load_order_types(self) -> None:
        """Loads their names. If that fails the screens show codes, which is no reason to stop."""
        try:
            self.order_types = labels.OrderTypeNames(await self.service.order_types())
        except ServiceError:
            pass

    async def on_unmount(self) -> None:
        if self._service:
            await self._service.close()

    def _fatal_error(self) -> None:
        # The library's traceback has the values of variables, among which may be what a caller said.
        self.panic(Traceback(show_locals=False))


class Title(Static):
    """The first line: the tool, the agent, and the time."""

    def __init__(self, agent: str) -> None:
        super().__init__(markup=False)
        self._agent = agent

    def on_mount(self) -> None:
        self.set_interval(1.0, self._show)
        self._show()

    def _show(self) -> None:
        left, right = f" {t('app.title')}   {self._agent}", f"{datetime.now():%H:%M:%S} "
        self.update(labels.plain(left + right.rjust(max(self.size.width - len(left), 0))))

    def on_resize(self) -> None:
        self._show()


class CallBar(Static):
    """Three lines that are visible throughout a phone call: who it is about, and what is proved."""

    def __init__(self, phone_call: Callable[[], PhoneCall]) -> None:
        super().__init__(markup=False)
        self._phone_call = phone_call

    def on_mount(self) -> None:
        # A grant expires without a key being pressed.
        self.set_interval(1.0, self.show)
        self.show()

    def show(self) -> None:
        call, none = self._phone_call(), t("bar.none")
        name = call.contact.display_name if call.contact else none
        customer = _pair("bar.customer", call.customer_number or none) + _pair("bar.contact", name)
        caller = _pair("bar.caller", call.channel or none) + Text(t(_caller_id(call)))
        self.update(Text("\n").join([customer, caller, _proved(call)]))


def _pair(label: str, value: str) -> Text:
    return Text.assemble((f" {t(label)} ", "dim"), labels.plain(value, "bold", width=34), "  ")


def _proved(call: PhoneCall) -> Text:
    if proof := call.valid_proof():
        until = labels.clock(proof.expire_time)
        badge = t(f"bar.authenticated.{proof.method}", until=until)
        return Text.assemble(" ", (f" {badge} ", "bold white on dark_green"))
    badge = t("bar.not_authenticated")
    return Text.assemble(" ", (f" {badge} ", "bold white on dark_red"), f" {t('bar.identifies')}")


def _caller_id(call: PhoneCall) -> str:
    """Returns the key of the text that says how the caller's number matches the contact."""
    if call.caller_id is not CallerId.ON_FILE:
        return f"bar.{call.caller_id.value}"
    # The customer's contact data counts for each of its contacts.
    ids = [call.contact.contact_id if call.contact else "", ""]
    kinds = [call.matches[each] for each in ids if each in call.matches]
    if phone_order_pb2.CHANNEL_MATCH_KIND_EXACT in kinds:
        return "bar.exact"
    if kinds:
        return "bar.same_line"
    return "bar.other" if call.contact else "bar.on_file"


class Message(Static):
    """What the agent should know or do next. It stays until something else is said."""

    def __init__(self) -> None:
        super().__init__(markup=False, id="message")

    def say(self, text: str, level: str = "info") -> None:
        """Shows a text; `level` is info, success, warning or error."""
        mark = {"success": "✓ ", "warning": "! ", "error": "✗ "}.get(level, "")
        self.set_classes(level)
        self.update(labels.plain(mark + text))
        self.display = bool(text)


class Frame(Screen[Result]):
    """A screen with title, bar of the call, message, body and keys.

    Requests run as workers, so that the screen stays usable; a failed one ends in a message.
    """

    BINDINGS = [
        Binding("f9", "end_call", t("key.end_call")),
        # They work everywhere; the last line of most screens has no room for them.
        Binding("f8", "supervisor", t("key.supervisor"), show=False),
        Binding("ctrl+q", "app.quit", t("key.quit"), show=False),
    ]

    # false: the screen does not belong to the phone call.
    is_of_call = True

    def __init__(self) -> None:
        super().__init__()
        self.message = Message()
        self._is_busy = False

    @property
    def tool(self) -> Tool:
        return cast(Tool, self.app)

    @property
    def call(self) -> PhoneCall:
        return self.tool.phone_call

    def compose(self) -> ComposeResult:
        yield Title(self.tool.settings.agent())
        if self.is_of_call:
            yield CallBar(lambda: self.call)
        yield self.message
        with Vertical(id="body"):
            yield from self.body()
        yield Footer(show_command_palette=False, compact=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.is_of_call or action not in ("supervisor", "end_call")

    def action_supervisor(self) -> None:
        self.tool.show_supervisor()

    def action_end_call(self) -> None:
        self.tool.end_call(self)

    def body(self) -> Iterable[Widget]:
        """Returns the widgets between the message and the keys."""
        raise NotImplementedError

    def say(self, text: str, level: str = "info") -> None:
        self.message.say(text, level)

    def cells(self, width: int) -> int:
        """Returns the width of a column that has `width` cells in a terminal of 80 columns."""
        return width * max(self.app.size.width, 80) // 80

    def show_call(self) -> None:
        """Shows a change of the phone call at once, not with the next tick."""
        for bar in self.query(CallBar):
            bar.show()

    async def run_request(self, work: Awaitable[None]) -> None:
        """Awaits the work and shows its failure. Nothing ends the tool during a phone call."""
        self._is_busy = True
        self.say(t("busy"))
        try:
            await work
        except ServiceError as error:
            self.failed(error)
        except Exception as error:  # pylint: disable=broad-exception-caught
            # Without its text, which could contain what the caller said.
            self.say(t("error.tool", name=type(error).__name__), "error")
        finally:
            self._is_busy = False
            self.show_call()

    def failed(self, error: ServiceError) -> None:
        """Shows why a request failed."""
        self.say(str(error), "error")


class Dialog(Frame[Result], ModalScreen[Result]):
    """A dialog over a screen, with a message and keys of its own."""

    BINDINGS = [Binding("escape", "close", t("key.close"))]

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield from self.body()
            yield self.message
        yield Footer(show_command_palette=False, compact=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        # Its last line has room for few keys.
        return action != "supervisor" and super().check_action(action, parameters)

    def action_close(self) -> None:
        self.dismiss(None)


def request(method: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Makes an async method of a Frame start as a request. Ignored while another one runs."""

    @functools.wraps(method)
    def start(self: Frame[Any], *args: Any) -> None:
        if not self._is_busy:
            self.run_worker(self.run_request(method(self, *args)), exit_on_error=False)

    return start


class Table(DataTable[Text]):
    """A table of texts, whose rows are found by their place."""

    def __init__(self, *columns: str, id: str | None = None, cursor: str = "row") -> None:
        super().__init__(id=id, cursor_type=cursor, zebra_stripes=True)  # type: ignore[arg-type]
        self._titles = columns

    def on_mount(self) -> None:
        for title in self._titles:
            self.add_column(title)

    def fill(self, rows: Iterable[Iterable[Text | str]], selected: int = 0) -> None:
        """Replaces the rows, and selects one."""
        cells = [
            [each if isinstance(each, Text) else labels.plain(each) for each in row] for row in rows
        ]
        self.clear()
        # The library measures cells when it is idle, and then keeps lines that it drew before that.
        for place, column in enumerate(self.ordered_columns):
            column.auto_width = False
            column.width = max(
                text.cell_len for text in [column.label, *(row[place] for row in cells)]
            )
        for row in cells:
            self.add_row(*row)
        if self.row_count:
            self.move_cursor(row=min(selected, self.row_count - 1))
