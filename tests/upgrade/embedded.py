"""The upgrade of an embedded database: stop, back up, start the new version, and back by the backup."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from drill.checks import check
from drill.databases import Sqlite, customers
from drill.load import JournalLoad, newest_cursor, rejection
from failover.checks import names_by_api, shown
from failover.service import SCOPES, Service
from support.polling import until

from .shared import STEP_SECONDS, Versions

WRITES = 150


def play(folder: Path, versions: Versions) -> bool:
    """Plays the upgrade and the way back, under writes; returns true if all checks passed."""
    begun = time.monotonic()
    scopes = f"{SCOPES} changes.watch"
    with ExitStack() as stack:
        database = Sqlite(folder, folder)
        service = Service(versions.previous, folder, [{"DATABASE_URL": database.url}], scopes=scopes)
        stack.callback(service.end)
        service.start()
        load = JournalLoad(service, "E")
        load.start()
        try:
            wait_for_writes(load)
            service.stop()
            # The backup is that of the new version: it reads a schema of any version.
            service.binary = versions.current
            point = database.point(service)
            service.start()
            wait_for_writes(load)
            live = service.run("verify-data")
            cursor = newest_cursor(service)
        finally:
            load.stop()
        wrong = [f"verify-data of the new version: {live}"] if live else []
        wrong += lost(service, load)
        service.stop()

        database.restore()
        restored = Service(
            versions.previous,
            folder,
            [{"DATABASE_URL": database.restored_url}],
            ("migrate", "renew-feed"),
            scopes,
        )
        stack.callback(restored.end)
        restored.start()
        verdict = check(load.journal(), point, customers(database), database.contacts())
        wrong += verdict.wrong
        reason = rejection(restored, cursor)
        if reason != "CURSOR_EXPIRED":
            wrong.append(f"a cursor of the new version is answered by {reason or 'changes'}")
        restored.binary = versions.current
        restored.replace(0)
        findings = restored.run("verify-data")
        wrong += [f"verify-data after the way back and forward: {findings}"] if findings else []
        restored.stop()
    print(
        f"SQLite: upgraded, restored and upgraded again in {time.monotonic() - begun:.0f} s;"
        f" {verdict.before:,} writes acknowledged before the backup,"
        f" {verdict.after:,} after it, which the way back loses; {len(wrong)} wrong",
        flush=True,
    )
    for text in wrong:
        print(f"  wrong: {text}", flush=True)
    return not wrong


def wait_for_writes(load: JournalLoad) -> None:
    enough = load.acknowledged() + WRITES

    def is_enough() -> bool:
        load.expect_alive()
        return load.acknowledged() >= enough

    until(is_enough, "writes", STEP_SECONDS)


def lost(service: Service, load: JournalLoad) -> list[str]:
    """Compares all acknowledged writes, of both versions, with what is found by the API."""
    expected = {(each.customer_number, each.contact_id): each.name for each in load.contacts()}
    found = names_by_api(service, {number for number, _ in expected})
    return shown("lost or not acknowledged", [str(key) for key, _ in found.items() ^ expected.items()])
