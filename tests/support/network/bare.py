"""The least that a server does with connections: it accepts them and closes the oldest ones."""

from __future__ import annotations

import socket
from collections import deque
from multiprocessing.synchronize import Event

HELD, BACKLOG = 500, 1024
POLL_SECONDS = 0.1


def accept_and_close(port: int, stop: Event) -> int:
    """Accepts connections on 127.0.0.1 until it is stopped; returns their number."""
    held: deque[socket.socket] = deque()
    count = 0
    with socket.create_server(("127.0.0.1", port), backlog=BACKLOG) as listener:
        listener.settimeout(POLL_SECONDS)
        while not stop.is_set():
            try:
                held.append(listener.accept()[0])
            except TimeoutError:
                continue
            count += 1
            if len(held) > HELD:
                held.popleft().close()
    for connection in held:
        connection.close()
    return count
