"""The least that a server does with connections: it accepts them and closes the oldest ones."""

from __future__ import annotations

import socket
from collections import deque
from dataclasses import dataclass
from multiprocessing.synchronize import Event

BACKLOG = 1024
POLL_SECONDS = 0.1
READ_BYTES = 4096


@dataclass(frozen=True)
class BareListener:
    """A port on 127.0.0.1, and the number of connections that stay open. With none, each is closed
    after its first bytes.
    """

    port: int
    held: int


def accept_and_close(bare: BareListener, stop: Event) -> int:
    """Accepts connections until it is stopped; returns their number."""
    held: deque[socket.socket] = deque()
    count = 0
    with socket.create_server(("127.0.0.1", bare.port), backlog=BACKLOG) as listener:
        listener.settimeout(POLL_SECONDS)
        while not stop.is_set():
            try:
                held.append(listener.accept()[0])
                if bare.held == 0:
                    held[0].settimeout(POLL_SECONDS)
                    held[0].recv(READ_BYTES)
            except OSError:
                pass
            else:
                count += 1
            if len(held) > bare.held:
                held.popleft().close()
    for connection in held:
        connection.close()
    return count
