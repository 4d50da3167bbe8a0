"""Limits, locks, and what a supervisor does about them."""

from __future__ import annotations

import uuid

from contact.v1 import phone_pb2

from support.contacts import Contacts
from support.service import Service
from support.terminal import Terminal

from conftest import AGENT, SUPERVISOR, Start
from sample import CARLAS_PASSWORD, Sample, events
from steps import choose_first_customer, choose_order, open_customer, say_password


def fail(terminal: Terminal, times: int) -> None:
    for count in range(1, times + 1):
        say_password(terminal, "blauer Dachs 8")
        terminal.wait_for(f"No match ({count})")


def test_three_wrong_passwords_use_up_the_call(start: Start, sample: Sample) -> None:
    terminal = start("--incoming", f"{sample.phone}33")
    choose_first_customer(terminal)
    fail(terminal, 3)
    say_password(terminal, CARLAS_PASSWORD)
    terminal.wait_for(
        "At most 3 attempts", "Call back a number on file.", "PHONE_CALL_ATTEMPT_LIMIT"
    )
    terminal.leave("Type what the caller says")
    # No code is mailed either, which could not be checked in this call.
    terminal.press("m")
    terminal.wait_for("PHONE_CALL_ATTEMPT_LIMIT")


def test_supervisor_lifts_a_lock(
    start: Start, sample: Sample, contacts: Contacts, agent: str
) -> None:
    terminal = start("--incoming", f"{sample.phone}33", scope=SUPERVISOR)
    choose_first_customer(terminal)
    fail(terminal, 3)
    terminal.press("F9")
    terminal.wait_for("The call has ended.")
    terminal.type(f"{sample.phone}33", "Enter")
    choose_first_customer(terminal)
    fail(terminal, 2)
    say_password(terminal, CARLAS_PASSWORD)
    terminal.wait_for("Locked until", "A supervisor can lift the lock.")
    terminal.leave("Type what the caller says")
    terminal.press("F8")
    terminal.wait_for("Phone orders of today", "F6 shows checks and locks")
    terminal.press("F6")
    terminal.wait_for("Select a contact; U lifts a lock")
    terminal.move_focus("BTab")
    terminal.type(sample.number, "Enter")
    shown = terminal.wait_for(
        "Carla Weber Technical LOCKED until", f"phone password refused Carla Weber {agent}"
    )
    assert shown.count("phone password failed Carla Weber") == 5

    terminal.press("Down", "Down", "u")
    terminal.wait_for("Unlock the phone password of Carla Weber")
    terminal.press("Enter")
    terminal.wait_for("Enter the reason")
    terminal.type("Called back on file", "Enter")
    terminal.wait_for("The lock of Carla Weber is lifted.", "Carla Weber Technical set")
    assert "CONTACT_PHONE_PASSWORD_UNLOCKED" in events(contacts, sample.number)

    terminal.leave("Failed and refused checks of today")
    terminal.press("F8")
    terminal.wait_for("Contact Carla Weber")
    say_password(terminal, CARLAS_PASSWORD)
    terminal.wait_for("What Carla Weber may order")


def test_supervisor_sees_orders_of_all_customers(start: Start, sample: Sample, agent: str) -> None:
    terminal = start("--incoming", f"{sample.phone}33")
    choose_first_customer(terminal)
    say_password(terminal, CARLAS_PASSWORD)
    choose_order(terminal, 4)
    terminal.wait_for("ALLOWED")
    terminal.type("A-1", "F2")
    terminal.wait_for("Recorded: placed.")

    supervisor = start("--supervisor", scope=SUPERVISOR)
    supervisor.wait_for("Phone orders of today", "Orders shown:", f"{agent[:9]}… {sample.number}")
    supervisor.move_focus("BTab")
    supervisor.type("agent-without-orders", "Enter")
    supervisor.wait_for("No phone orders today.")
    # What the field had is selected, and replaced.
    supervisor.move_focus("BTab")
    supervisor.type(agent, "Enter")
    supervisor.wait_for("Orders shown: 1.", "allowed placed")
    supervisor.press("Enter")
    supervisor.wait_for(
        "Web hosting package",
        "Contact Carla Weber",
        "Authentication phone password",
        "Caller ID of the contact (identifies only), exact",
        "Judged by offered by phone",
        "Never: Cancellation",
        "Reference A-1",
    )


def test_blocked_agent_hands_the_call_over(
    service: Service, start: Start, sample: Sample, agent: str
) -> None:
    client = service.connect(None)
    client.use_token(service.run("token", "--sub", agent, "--scope", AGENT))
    for _ in range(20):
        request = phone_pb2.CheckPhonePasswordRequest(
            customer_number=sample.number,
            contact_id=str(uuid.uuid4()),
            phone_password="blauer Dachs 8",
            call_id=str(uuid.uuid4()),
        )
        client.call("CheckPhonePassword", request)
    client.close()
    terminal = start()
    open_customer(terminal, sample.number)
    say_password(terminal, CARLAS_PASSWORD)
    terminal.wait_for("AGENT_BLOCKED", "Hand the call over to a colleague.", "in 60 minutes")


def test_searches_are_limited(service: Service, start: Start, sample: Sample, agent: str) -> None:
    client = service.connect(None)
    client.use_token(service.run("token", "--sub", agent, "--scope", AGENT))
    request = phone_pb2.FindCustomersRequest(phone_number=f"{sample.phone}11")
    for _ in range(60):
        client.call("FindCustomers", request)
    client.close()
    terminal = start("--incoming", f"{sample.phone}11")
    terminal.wait_for("FIND_LIMIT", "Ask for the customer number instead, or wait.")
