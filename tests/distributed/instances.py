"""Two instances of the service: one at the coordinator, one at a worker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from failover.service import Service

from .cluster import Database, Node

SCOPES = (
    "customers.read customers.write contact_data.write contacts.read contacts.write email.confirm"
    " channels.verify customers.find phone_password.check phone_password.unlock"
    " phone_orders.authorize phone_orders.read order_types.read order_types.write"
    " recipients.resolve recipients.resolve_all deliveries.report audit.read changes.watch privacy.export privacy.erase"
)
MIGRATE = ("migrate", "up", "--distributed")
# The cheapest hash: its cost proves nothing here.
SETTINGS = {"MAIL_FROM": "kontakt@hoster.example", "PHONE_PASSWORD_COST": "m=8192,t=1,p=1"}


def nodes_of_instances(database: Database) -> list[Node]:
    """Returns the node that each instance connects to."""
    return [database.cluster.coordinator, database.cluster.workers[-1]]


@contextmanager
def instances(database: Database, folder: Path, smtp_urls: Sequence[str] = ()) -> Iterator[Service]:
    """Runs both instances; they must end with exit code 0."""
    folder.mkdir()
    settings = [
        {**SETTINGS, "DATABASE_URL": database.url(node)} for node in nodes_of_instances(database)
    ]
    for instance, url in zip(settings, smtp_urls):
        instance["SMTP_URL"] = url
    binary = Path(os.environ["CONTACT_SERVICE_BIN"])
    service = Service(binary, folder, settings, MIGRATE, SCOPES)
    try:
        service.start()
        yield service
        service.stop()
    finally:
        service.end()
