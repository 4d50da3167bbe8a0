"""Fixtures: one service for all tests, and a customer, an agent and a terminal for each."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.contacts import SCOPES, Contacts
from support.database import Database
from support.service import Service
from support.terminal import Terminal

from sample import Folder, Sample, create_order_types, create_sample

TOOL = Path(__file__).resolve().parents[2] / "examples" / "call_center"
AGENT = (
    "customers.find channels.verify contacts.read phone_password.check phone_orders.authorize "
    "phone_orders.read order_types.read"
)
SUPERVISOR = f"{AGENT} audit.read phone_password.unlock"

Start = Callable[..., Terminal]


@pytest.fixture(scope="session")
def service(tmp_path_factory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("service")
    # Without a leeway for clocks, tokens expire while a test waits for it.
    with Service(folder, Database("sqlite", folder), JWT_LEEWAY_SECONDS="0") as service:
        service.start()
        create_order_types(service)
        yield service


@pytest.fixture
def contacts(service: Service) -> Contacts:
    """A client that may also read what the tool left on record."""
    token = service.run("token", "--sub", "tests", "--scope", f"{SCOPES} {SUPERVISOR}")
    client = service.connect(None)
    client.use_token(token)
    return client


@pytest.fixture
def mails(service: Service) -> Folder:
    return Folder(service)


@pytest.fixture
def sample(contacts: Contacts, mails: Folder) -> Sample:
    return create_sample(contacts, mails)


@pytest.fixture
def agent() -> str:
    """The subject of an agent whose limits no other test uses up."""
    return f"agent-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home and temporary folder of the tool."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def start(service: Service, tmp_path: Path, home: Path, agent: str) -> Iterator[Start]:
    """Starts the tool in a terminal of 80 columns and 24 lines, in English."""
    with ExitStack() as stack:

        def started(
            *flags: str,
            scope: str = AGENT,
            size: tuple[int, int] = (80, 24),
            at: Service = service,
        ) -> Terminal:
            token = at.run("token", "--sub", agent, "--scope", scope)
            command = [sys.executable, str(TOOL), "--target", at.grpc_address, *flags]
            # A busy machine is not what the tests are about.
            command += ["--timeout", "30"]
            if "--language" not in flags:
                command += ["--language", "en"]
            settings = {
                "PYTHONPATH": os.environ["PYTHONPATH"],
                "PYTHONDONTWRITEBYTECODE": "1",
                "CONTACT_SERVICE_TOKEN": token,
                # Where a program would leave files.
                "HOME": str(home),
                "TMPDIR": str(home),
            }
            folder = tmp_path / uuid.uuid4().hex[:6]
            folder.mkdir()
            return stack.enter_context(Terminal(folder, command, size, **settings))

        yield started
