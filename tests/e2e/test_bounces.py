"""A permanently rejected address is marked, and excluded where another remains."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from support.contacts import Contacts, unique_address
from support.database import BACKENDS, Database
from support.polling import until
from support.service import Service
from support.sink import HARD, Sink


def confirm(contacts: Contacts, database: Database, contact, email: str) -> None:
    """Confirms the address directly in the database, because the sink keeps no links."""
    changed = database.execute(
        f"UPDATE contacts SET email = '{email}', email_key = '{email}' "
        f"WHERE customer_number = '{contact.customer_number}' AND display_name = "
        f"'{contact.display_name}'"
    )
    assert changed == 1
    assert contacts.get(contact).email == email


@pytest.mark.parametrize("backend", BACKENDS)
def test_permanently_rejected_address_is_excluded(tmp_path: Path, backend: str) -> None:
    with ExitStack() as stack:
        database = Database(backend, tmp_path)
        stack.callback(database.drop)
        sink = stack.enter_context(Sink(tmp_path))
        service = stack.enter_context(Service(tmp_path, database, SMTP_URL=sink.smtp_urls[0]))
        contacts = service.start()
        number = contacts.create_customer()
        bad, good = unique_address(HARD.rstrip("-")), unique_address()
        anna = contacts.create_contact(number, name="Anna", email=good)
        berta = contacts.create_contact(number, name="Berta")
        confirm(contacts, database, anna, good)
        confirm(contacts, database, berta, bad)
        assert contacts.general_recipients(number) == [good, bad]
        # Another contact enters the same address: the e-mail to it is the one that is rejected.
        carla = contacts.create_contact(number, name="Carla", email=bad)
        until(
            lambda: contacts.get(berta).HasField("email_bounce_time"),
            "the confirmed address to be marked",
        )
        assert contacts.get(carla).pending_email.HasField("bounce_time")
        assert not contacts.get(anna).HasField("email_bounce_time")
        assert contacts.general_recipients(number) == [good]
        assert bad not in service.log
