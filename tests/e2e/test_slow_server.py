"""A mail server that takes longer than the lease of an e-mail gets one copy."""

from __future__ import annotations

import os
import socketserver
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from support.contacts import unique_address
from support.database import BACKENDS, Database
from support.polling import until
from support.service import Service

# A lease is 60 s. RFC 5321 gives a server 10 minutes after the dot.
SECONDS_AFTER_DOT = 150 if os.environ.get("E2E_PROOF") else 65


class SlowServer(socketserver.ThreadingTCPServer):
    """Accepts a message, and replies to the dot after a delay."""

    daemon_threads = True

    def __init__(self) -> None:
        self.connections = 0
        self.copies = 0
        super().__init__(("127.0.0.1", 0), _SlowDialogue)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def smtp_url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class _SlowDialogue(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.server.connections += 1
        self.wfile.write(b"220 slow.example ESMTP\r\n")
        for line in self.rfile:
            if line == b"DATA\r\n":
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() != b".\r\n":
                    pass
                self.server.copies += 1
                time.sleep(SECONDS_AFTER_DOT)
            self.wfile.write(b"250 OK\r\n")


def test_slow_server_gets_one_copy(tmp_path: Path) -> None:
    """On both databases concurrently, with two instances where they can share one."""
    with ExitStack() as stack:
        runs = []
        for backend in BACKENDS:
            folder = tmp_path / backend
            folder.mkdir()
            database = Database(backend, folder)
            stack.callback(database.drop)
            server = stack.enter_context(SlowServer())
            for _ in range(2 if backend == "postgres" else 1):
                service = Service(folder, database, SMTP_URL=server.smtp_url)
                contacts = stack.enter_context(service).start()
            contacts.create_contact(contacts.create_customer(), email=unique_address())
            runs.append((database, server))
        for database, server in runs:
            until(
                lambda database=database: database.count("outbox_mails") == 0,
                "the outbox to be empty",
                SECONDS_AFTER_DOT + 30,
                pause=0.5,
            )
            assert (server.connections, server.copies) == (1, 1)
