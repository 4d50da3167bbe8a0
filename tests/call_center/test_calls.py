"""Whole phone calls, from the caller's number to the recorded outcome."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from contact.v1 import customer_pb2, phone_order_pb2

from support.contacts import Contacts, unique_address

from conftest import Start
from sample import ANNAS_PASSWORD, CARLAS_PASSWORD, CODE, NOTE, Folder, Sample, events
from steps import (
    AUTHENTICATED,
    NOT_AUTHENTICATED,
    choose_first_customer,
    choose_order,
    find,
    open_customer,
    say_password,
)

CANCELLATION, TAKEOVER, TRANSFER, REBOOT, HOSTING = range(5)


def orders(contacts: Contacts, sample: Sample) -> list[phone_order_pb2.PhoneOrder]:
    request = phone_order_pb2.ListPhoneOrdersRequest(customer_number=sample.number)
    return list(contacts.call("ListPhoneOrders", request).orders)


def test_call_with_phone_password(
    start: Start, sample: Sample, contacts: Contacts, agent: str, home: Path
) -> None:
    terminal = start("--incoming", f"sip:{sample.phone}33@pbx.example")
    choose_first_customer(terminal)
    terminal.wait_for("Contact Carla Weber", "on file, exact")
    terminal.press("p")
    terminal.wait_for("Type what the caller says", NOT_AUTHENTICATED)
    terminal.type("rot-er daCHS7")
    assert "daCHS" not in terminal.wait_for("•" * len("rot-er daCHS7"))
    terminal.press("Enter")
    terminal.wait_for("What Carla Weber may order", AUTHENTICATED, "Never: Cancellation")

    choose_order(terminal, HOSTING)
    shown = terminal.wait_for("ALLOWED", "Web hosting package, administered by the provider")
    authorization_id = re.search(r"Keep with the order: (\S+)", shown)[1]
    terminal.type("A-4711", "F2")
    terminal.wait_for("Recorded: placed.")

    terminal.press("h")
    terminal.wait_for(
        f"Phone orders of {sample.number}", "Carla Weber Web hosting package allowed placed"
    )
    terminal.press("F9")
    shown = terminal.wait_for("The call has ended.", NOT_AUTHENTICATED)
    assert sample.number not in shown and "Carla" not in shown and sample.phone not in shown

    assert list(home.iterdir()) == []
    [order] = orders(contacts, sample)
    assert order.authorization_id == authorization_id
    assert order.agent == agent
    assert order.outcome == phone_order_pb2.PHONE_ORDER_OUTCOME_PLACED
    assert order.order_reference == "A-4711"
    assert order.channel.verified == phone_order_pb2.VERIFIED_CHANNEL_CONTACT_CHANNEL
    assert order.authentication == phone_order_pb2.AUTHENTICATION_METHOD_PHONE_PASSWORD


def test_call_in_german_with_mailed_code(
    start: Start, sample: Sample, contacts: Contacts, mails: Folder
) -> None:
    terminal = start("--language", "de")
    terminal.wait_for("Rufnummer oder Adresse eingeben", "NICHT AUTHENTIFIZIERT")
    terminal.type(f"carla@{sample.domain}")
    terminal.move_focus("Tab")
    terminal.type(sample.number, "Enter")
    terminal.wait_for(
        "Ansprechpartner Carla Weber", "hinterlegt, genau", "erkennt nur, sie beweist nichts"
    )
    terminal.press("m")
    terminal.wait_for("ist ein Code unterwegs, gültig bis")
    code = "".join(mails.wait_for(f"carla@{sample.domain}", CODE).groups())
    terminal.type(code, "Enter")
    shown = terminal.wait_for(
        "Was Carla Weber bestellen darf", " AUTHENTIFIZIERT bis", "mit Einmalcode"
    )
    assert code not in shown

    # The name of an order type is in the agent's language, also for a contact who speaks English.
    choose_cell = ["Down"] * REBOOT
    terminal.press(*choose_cell, "Right", "Enter")
    terminal.wait_for(
        "ABGELEHNT", "Neustart eines Servers, vom Kunden verwaltet", "muss im Portal erteilt werden"
    )
    terminal.leave("ABGELEHNT")
    terminal.press("Down", "Left", "Enter")
    terminal.wait_for("ERLAUBT", "Webhosting-Paket, vom Anbieter verwaltet")
    terminal.press("F3")
    terminal.wait_for("Festgehalten: nicht erteilt.")

    placed, denied = orders(contacts, sample)
    assert placed.outcome == phone_order_pb2.PHONE_ORDER_OUTCOME_NOT_PLACED
    assert placed.authentication == phone_order_pb2.AUTHENTICATION_METHOD_CODE_BY_EMAIL
    assert denied.denial == phone_order_pb2.ORDER_DENIAL_PORTAL_REQUIRED
    assert "CONTACT_ONE_TIME_CODE_MATCHED" in events(contacts, sample.number)


def test_agent_decides_by_the_note(start: Start, sample: Sample, contacts: Contacts) -> None:
    terminal = start()
    find(terminal, f"{sample.phone}11", "Select the customer")
    choose_first_customer(terminal)
    say_password(terminal, ANNAS_PASSWORD)
    choose_order(terminal, HOSTING)
    terminal.wait_for("YOU DECIDE", NOTE, "Decide with the note in view.")
    terminal.press("Enter")
    terminal.wait_for("Press F2 if the order was placed, F3 if not.")
    terminal.leave("YOU DECIDE")
    terminal.wait_for("What Anna Schmidt may order")

    # An order without an outcome is not forgotten.
    terminal.press("F9")
    terminal.wait_for("Orders without an outcome: 1.")
    terminal.press("h")
    terminal.wait_for("Anna Schmidt Web hosting package agent decides open")
    terminal.press("Enter")
    terminal.wait_for("YOU DECIDE", NOTE)
    terminal.type("B-1", "F2")
    terminal.wait_for("Anna Schmidt Web hosting package agent decides placed")
    terminal.press("Enter")
    terminal.wait_for("Reference B-1", f"Note: {NOTE}", "identifies only", without=["YOU DECIDE"])

    [order] = orders(contacts, sample)
    assert order.decision == phone_order_pb2.ORDER_DECISION_AGENT_DECISION
    assert order.judged_by.restrictions.note == NOTE


@pytest.mark.parametrize(
    "place, reason",
    [(CANCELLATION, "Another contact may order it"), (TAKEOVER, "not offered by phone")],
)
def test_denial_says_why(start: Start, sample: Sample, place: int, reason: str) -> None:
    terminal = start("--incoming", f"{sample.phone}33")
    choose_first_customer(terminal)
    say_password(terminal, CARLAS_PASSWORD)
    choose_order(terminal, place)
    shown = terminal.wait_for("DENIED", "Keep with the order:")
    assert reason in shown
    # There is no outcome to record.
    assert "f2" not in terminal.screen.splitlines()[-1]


def test_withheld_number_still_reaches_the_customer(start: Start, sample: Sample) -> None:
    terminal = start()
    find(terminal, "anonymous", "The caller withholds the number. Ask for the customer number")
    terminal.type(sample.number, "Enter")
    terminal.wait_for("The number is withheld.", "Caller anonymous number withheld")
    terminal.press("Down", "Down")
    say_password(terminal, CARLAS_PASSWORD)
    terminal.wait_for("What Carla Weber may order", "caller ID not verified")
    choose_order(terminal, TRANSFER)
    terminal.wait_for("DENIED", "Call back a number on file")


def test_extension_of_a_line_is_shown_as_such(start: Start, sample: Sample) -> None:
    terminal = start()
    find(terminal, f"{sample.phone}114", f"{sample.number} Anna Schmidt Standard same line")
    choose_first_customer(terminal)
    terminal.wait_for("Contact Anna Schmidt", "on file, same line")


def test_number_that_is_not_on_file(start: Start, sample: Sample) -> None:
    terminal = start()
    find(terminal, "+49 89 999999", "Not on file for any customer.")
    terminal.type(sample.number, "Enter")
    terminal.wait_for("not on file for this customer", "Caller +49 89 999999 not on file")


def test_more_matches_than_shown(start: Start, contacts: Contacts) -> None:
    shared = unique_address("zentrale")
    for _ in range(21):
        customer = customer_pb2.Customer(
            customer_number=contacts.create_customer(),
            contact_data=customer_pb2.ContactData(email=shared),
        )
        contacts.call("UpdateCustomer", customer_pb2.UpdateCustomerRequest(customer=customer))
    terminal = start()
    find(
        terminal,
        shared,
        "There are more matches than shown. Ask the caller for the customer number.",
    )


def test_new_call_starts_unauthenticated(start: Start, sample: Sample) -> None:
    terminal = start("--incoming", f"{sample.phone}33")
    choose_first_customer(terminal)
    say_password(terminal, CARLAS_PASSWORD)
    terminal.wait_for("What Carla Weber may order")
    terminal.press("F9")
    terminal.wait_for("The call has ended.")
    terminal.move_focus("Tab")
    terminal.type(sample.number, "Enter")
    terminal.wait_for("Select the contact who is speaking")
    terminal.press("Down", "Down", "o")
    terminal.wait_for("Contact Carla Weber", NOT_AUTHENTICATED, without=["may order"])


def test_contact_without_password_looks_like_a_wrong_one(start: Start, sample: Sample) -> None:
    terminal = start()
    open_customer(terminal, sample.number)
    terminal.press("Down")
    terminal.wait_for("Contact Bernd Maier")
    say_password(terminal, "irgendetwas")
    terminal.wait_for("No match (1): the phone password is wrong, or none is set.")
