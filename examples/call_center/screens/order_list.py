"""A list of phone orders, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contact.v1 import phone_order_pb2
from rich.text import Text
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import DataTable, Static

from frame import Frame, Table, request
from screens.detail import DetailDialog
from texts import t


class OrderList(Frame[None]):
    """Lists orders, newest first. Subclasses say which, and how."""

    BINDINGS = [
        Binding("f5", "refresh", t("key.refresh")),
        Binding("f4", "more", t("key.more")),
    ]
    AUTO_FOCUS = "DataTable"
    columns: tuple[str, ...]

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[phone_order_pb2.PhoneOrder] = []
        # The names of contacts by their ids, as far as they are known.
        self.names: Mapping[str, str] = {}
        self._page_token = ""

    def heading(self) -> str:
        raise NotImplementedError

    async def fetch(self, page_token: str) -> phone_order_pb2.ListPhoneOrdersResponse:
        raise NotImplementedError

    def row(self, order: phone_order_pb2.PhoneOrder) -> Iterable[Text | str]:
        raise NotImplementedError

    def advice(self) -> str:
        raise NotImplementedError

    def body(self) -> Iterable[Widget]:
        yield Static(self.heading(), markup=False, classes="heading")
        yield Table(*(t(f"column.{name}") for name in self.columns))

    def on_mount(self) -> None:
        self.action_refresh()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "more":
            return bool(self._page_token)
        return super().check_action(action, parameters)

    @request
    async def action_refresh(self) -> None:
        await self.tool.load_order_types()
        self.orders = []
        await self._load("")

    @request
    async def action_more(self) -> None:
        await self._load(self._page_token)

    async def _load(self, page_token: str) -> None:
        page = await self.fetch(page_token)
        self.orders.extend(page.orders)
        self._page_token = page.next_page_token
        table = self.query_one(Table)
        table.fill(map(self.row, self.orders), max(table.cursor_row, 0))
        self.refresh_bindings()
        self.say(self.advice() + (f" {t('list.more')}" if self._page_token else ""))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        self._open(self.orders[event.cursor_row])

    @request
    async def _open(self, listed: phone_order_pb2.PhoneOrder) -> None:
        # Read again: its outcome may have been recorded since.
        order = await self.tool.service.order(listed.customer_number, listed.authorization_id)
        await self.load_names(order.customer_number)
        self.say(self.advice())
        self.show_order(order)

    async def load_names(self, customer_number: str) -> None:
        """Loads the names of the customer's contacts, where they are not known."""

    def show_order(self, order: phone_order_pb2.PhoneOrder) -> None:
        self.app.push_screen(DetailDialog(order, self.names, self.is_of_call))
