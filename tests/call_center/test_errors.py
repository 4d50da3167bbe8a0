"""Failures: the agent learns what to do, and the tool goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import trustme
from contact.v1 import order_type_pb2, phone_pb2

from support.contacts import Contacts, reference
from support.database import Database
from support.polling import until
from support.service import Service

from conftest import AGENT, TOOL, Start
from sample import CARLAS_PASSWORD, Sample
from steps import (
    NOT_AUTHENTICATED,
    choose_first_customer,
    choose_order,
    find,
    open_customer,
    say_password,
)


@pytest.mark.parametrize("missing", ["customers.find", "phone_password.check", "phone_orders.read"])
def test_missing_scope_is_named(start: Start, sample: Sample, missing: str) -> None:
    scope = " ".join(each for each in AGENT.split() if each != missing)
    terminal = start(scope=scope)
    if missing == "customers.find":
        find(terminal, f"{sample.phone}33", "Missing scope: customers.find.")
        return
    open_customer(terminal, sample.number)
    if missing == "phone_password.check":
        say_password(terminal, CARLAS_PASSWORD)
    else:
        terminal.press("h")
    terminal.wait_for(f"Missing scope: {missing}.", "Ask an administrator for it.")


def test_renewed_token_file_is_read_after_expiry(
    service: Service, start: Start, sample: Sample, agent: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(service.run("token", "--sub", agent, "--scope", AGENT, "--ttl", "1s"))
    until(lambda: is_expired(service, token.read_text()), "the token to expire")
    terminal = start("--token-file", str(token))
    find(terminal, f"{sample.phone}33", "Your sign-in has expired.")
    terminal.wait_for("With --token-file the tool reads a new token by itself.", "TOKEN_EXPIRED")
    token.write_text(service.run("token", "--sub", agent, "--scope", AGENT))
    terminal.press("Enter")
    choose_first_customer(terminal)


def is_expired(service: Service, token: str) -> bool:
    client = service.connect(None)
    client.use_token(token)
    try:
        client.call("ListOrderTypes", order_type_pb2.ListOrderTypesRequest())
    except grpc.RpcError as error:
        return "expired" in str(error.details())
    finally:
        client.close()
    return False


def test_wrong_customer_number(start: Start, sample: Sample) -> None:
    terminal = start()
    terminal.wait_for("Enter the caller's number or address")
    terminal.press("Enter")
    terminal.wait_for("Enter a phone number, an e-mail address or a customer number.")
    terminal.move_focus("Tab")
    terminal.type("K-0", "Enter")
    terminal.wait_for("We do not know this customer number.", "Ask the caller to repeat it.")
    terminal.press("C-u")
    until(lambda: "K-0" not in terminal.text, "the field to be empty")
    terminal.type("K 0 !", "Enter")
    terminal.wait_for("INVALID_FIELD")


def test_service_goes_down_and_comes_back(service: Service, start: Start, sample: Sample) -> None:
    terminal = start("--incoming", f"{sample.phone}33")
    choose_first_customer(terminal)
    service.kill()
    try:
        say_password(terminal, CARLAS_PASSWORD)
        terminal.wait_for("The service cannot be reached. Press the same key again in a moment.")
        terminal.leave("Type what the caller says")
        terminal.press("h")
        terminal.wait_for("Phone orders of", "The service cannot be reached.")
    finally:
        service.start()

    def is_back() -> bool:
        if "No phone orders on record." in terminal.text:
            return True
        terminal.press("F5")
        return False

    until(is_back, "the history to be shown again", pause=0.3)
    terminal.leave("Phone orders of")
    say_password(terminal, CARLAS_PASSWORD)
    terminal.wait_for("What Carla Weber may order")


def test_grant_ends_with_the_phone_password(
    start: Start, sample: Sample, contacts: Contacts
) -> None:
    terminal = start("--incoming", f"{sample.phone}33")
    choose_first_customer(terminal)
    say_password(terminal, CARLAS_PASSWORD)
    terminal.wait_for("What Carla Weber may order")
    request = reference(
        phone_pb2.SetPhonePasswordRequest, sample.carla, phone_password="Blauer Esel 99"
    )
    contacts.call("SetPhonePassword", request)
    choose_order(terminal, 4)
    terminal.wait_for(
        "GRANT_INVALID", "Ask for the phone password or a code again.", NOT_AUTHENTICATED
    )
    say_password(terminal, "Blauer Esel 99")
    terminal.wait_for("What Carla Weber may order")


def test_tls_with_a_root_certificate(start: Start, tmp_path: Path) -> None:
    authority, folder = trustme.CA(), tmp_path / "tls"
    folder.mkdir()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    settings = {"TLS_CERT": str(folder / "cert.pem"), "TLS_KEY": str(folder / "key.pem")}
    with Service(folder, Database("sqlite", folder), **settings) as service:
        service.credentials = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes())
        service.start()
        terminal = start("--ca", str(folder / "ca.pem"), at=service)
        find(terminal, "+49 89 999999", "Not on file for any customer.")
        stranger = start("--tls", at=service)
        find(stranger, "+49 89 999999", "The service cannot be reached.")


def test_quit_leaves_nothing_on_the_terminal(start: Start, sample: Sample) -> None:
    terminal = start("--incoming", f"{sample.phone}33")
    choose_first_customer(terminal)
    terminal.press("C-q")
    until(terminal.has_ended, "the tool to end")
    assert "Carla" not in terminal.screen


def test_command_line_is_checked() -> None:
    ended = subprocess.run(
        [sys.executable, TOOL, "--cert", "missing.pem"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "--cert and --key belong together" in ended.stderr
