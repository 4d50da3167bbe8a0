"""A flood of connections that never send a request, each opened again as soon as it is closed.

Unlike the connections of `abuses` they wait for nothing: the kernel repeats what a full queue drops.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from dataclasses import dataclass
from multiprocessing.synchronize import Event

from . import frames
from .abuses import READ_BYTES
from .spawned import use_idle_class

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Flood:
    """The server, and the number of concurrent connections to it."""

    address: str
    connections: int


def flood(subject: Flood, stop: Event) -> int:
    """Returns the number of connections that were closed by the server."""
    use_idle_class()
    closed = 0
    with selectors.DefaultSelector() as selector:
        for _ in range(subject.connections):
            connect(selector, subject.address)
        while not stop.is_set():
            for key, _ in selector.select(POLL_SECONDS):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if not step(selector, connection, is_new=key.events == selectors.EVENT_WRITE):
                    selector.unregister(connection)
                    connection.close()
                    closed += 1
                    connect(selector, subject.address)
    return closed


def connect(selector: selectors.BaseSelector, address: str) -> None:
    """Starts to connect."""
    host, _, port = address.rpartition(":")
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex((host, int(port)))
    selector.register(connection, selectors.EVENT_WRITE)


def step(selector: selectors.BaseSelector, connection: socket.socket, *, is_new: bool) -> bool:
    """Greets the server or reads from it; returns true while the connection is open."""
    try:
        if is_new:
            connection.send(frames.HANDSHAKE)
            selector.modify(connection, selectors.EVENT_READ)
            return True
        with contextlib.suppress(BlockingIOError):
            return bool(connection.recv(READ_BYTES))
    except OSError:
        return False
    return True
