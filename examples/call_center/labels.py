"""Words for values of the contract."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from contact.v1 import contact_pb2, order_type_pb2, phone_order_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from texts import has, language, t

STYLES: dict[int, str] = {
    phone_order_pb2.ORDER_DECISION_ALLOWED: "bold green",
    phone_order_pb2.ORDER_DECISION_DENIED: "bold red",
    phone_order_pb2.ORDER_DECISION_AGENT_DECISION: "bold yellow",
}
BADGES: dict[int, str] = {
    phone_order_pb2.ORDER_DECISION_ALLOWED: "bold white on dark_green",
    phone_order_pb2.ORDER_DECISION_DENIED: "bold white on dark_red",
    phone_order_pb2.ORDER_DECISION_AGENT_DECISION: "bold black on yellow",
}
PLACEABLE = (phone_order_pb2.ORDER_DECISION_ALLOWED, phone_order_pb2.ORDER_DECISION_AGENT_DECISION)


def plain(text: str, style: str = "", width: int = 0) -> Text:
    """Returns a text without markup and control characters, cut at `width` cells unless that is 0.

    What people typed may contain both, and a terminal would obey.
    """
    safe = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    result = Text(safe, style=style)
    if width:
        result.truncate(width, overflow="ellipsis")
    return result


def word(group: str, value: int) -> str:
    """Returns the word for a value of an enum; a value that is newer than this tool gets the word for 0."""
    key = f"{group}.{value}"
    return t(key) if has(key) else t(f"{group}.0") if has(f"{group}.0") else str(value)


def types(values: Iterable[int]) -> str:
    return ", ".join(word("type", value) for value in values)


def clock(moment: Timestamp | datetime) -> str:
    """Returns the local time, with the date unless it is today."""
    if isinstance(moment, Timestamp):
        moment = moment.ToDatetime(timezone.utc)
    local = moment.astimezone()
    is_today = local.date() == datetime.now().astimezone().date()
    return local.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M")


def when(moment: Timestamp) -> str:
    """Returns the local time if it is today, else the date: short enough for a column."""
    return clock(moment).split(" ")[0]


def today() -> datetime:
    """Returns the beginning of the local day."""
    return datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)


class OrderTypeNames:
    """The display names of order types in the language of the tool."""

    def __init__(self, order_types: Iterable[order_type_pb2.OrderType] = ()) -> None:
        self._names = {
            each.code: each.display_names.get(language(), each.display_name) for each in order_types
        }

    def __getitem__(self, code: str) -> str:
        return self._names.get(code, code)

    def join(self, codes: Iterable[str]) -> str:
        return ", ".join(self[code] for code in codes)


def advice(decision: int, denial: int) -> str:
    """Says what the agent does with the decision. Without a clear yes there is no order."""
    if decision in PLACEABLE:
        return t(f"advice.{decision}")
    return word("advice.denial", denial)


def can_be_placed(order: phone_order_pb2.PhoneOrder) -> bool:
    return order.decision in PLACEABLE


def decision(value: int) -> Text:
    return Text(word("decision", value), style=STYLES.get(value, "bold"))


def outcome(order: phone_order_pb2.PhoneOrder) -> str:
    return word("outcome", order.outcome) if can_be_placed(order) else t("outcome.denied")


def administrator(is_customer: bool) -> str:
    return t("administrator.customer" if is_customer else "administrator.provider")


def lock(state: contact_pb2.PhonePassword) -> Text:
    """Says whether a phone password can be checked now."""
    if state.revoked:
        return Text(t("lock.revoked"), style="bold red")
    if is_locked(state):
        return Text(t("lock.until", until=clock(state.locked_until_time)), style="bold red")
    return Text(t("lock.set" if state.configured else "lock.none"))


def is_locked(state: contact_pb2.PhonePassword) -> bool:
    until = state.locked_until_time.ToDatetime(timezone.utc)
    return state.HasField("locked_until_time") and until > datetime.now(timezone.utc)
