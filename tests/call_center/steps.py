"""What an agent does at the beginning of most phone calls."""

from __future__ import annotations

from support.terminal import Terminal

NOT_AUTHENTICATED = "NOT AUTHENTICATED"
AUTHENTICATED = " AUTHENTICATED until"
BY_ADMINISTRATOR = ", administered by the "
IDENTIFIES = "A caller ID identifies, it does not authenticate."


def find(terminal: Terminal, channel: str, shown: str) -> None:
    """Enters the caller's number, and waits for a text."""
    terminal.wait_for("Enter the caller's number or address")
    terminal.type(channel, "Enter")
    terminal.wait_for(shown)


def choose_first_customer(terminal: Terminal) -> None:
    """Selects the first customer that was found."""
    terminal.wait_for("Select the customer")
    terminal.press("Enter")
    terminal.wait_for("Select the contact who is speaking", NOT_AUTHENTICATED, IDENTIFIES)


def open_customer(terminal: Terminal, number: str) -> None:
    """Enters the customer number without a caller's number."""
    terminal.wait_for("Enter the caller's number or address")
    terminal.move_focus("Tab")
    terminal.type(number, "Enter")
    terminal.wait_for("Select the contact who is speaking", NOT_AUTHENTICATED)


def say_password(terminal: Terminal, password: str) -> None:
    """Types the phone password into its dialog."""
    if "Type what the caller says" not in terminal.text:
        terminal.press("p")
    terminal.wait_for("Type what the caller says", NOT_AUTHENTICATED)
    terminal.type(password, "Enter")


def choose_order(terminal: Terminal, place: int, is_own: bool = False) -> None:
    """Requests the decision on the order type at a place of the table, counted from 0."""
    # The line about the current cell: before it the table is empty, and ignores keys.
    terminal.wait_for("Left and right: who administers the product.", BY_ADMINISTRATOR, AUTHENTICATED)
    terminal.press(*["Up"] * 9, *["Down"] * place, "Right" if is_own else "Left", "Enter")
