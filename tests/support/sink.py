"""A minimal SMTP server that is fast enough not to limit a measurement.

The prefix of a recipient decides: hang-* never gets a response, soft-* is rejected temporarily
(451), hard-* permanently (550), everything else is accepted. `Sink` runs the server as a process
with several ports, one for each instance, and reads its notes.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .polling import until

HANG, SOFT, HARD = "hang-", "soft-", "hard-"
ADDRESS = re.compile(rb"<([^>]*)>")
MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>]*>)", re.IGNORECASE | re.MULTILINE)
END_OF_DATA = b"\r\n.\r\n"

# The outcomes of a recipient.
ATTEMPTED, ACCEPTED = "attempted", "accepted"


class Dialogue(asyncio.Protocol):
    """One connection."""

    goodbyes = 0

    def __init__(self, port_number: int, output) -> None:
        self._port_number = port_number
        self._output = output
        self._received = b""
        self._in_data = False
        self._recipient = b""

    def connection_made(self, transport) -> None:
        self._transport = transport
        transport.write(b"220 sink.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._take_one():
            pass

    def _take_one(self) -> bool:
        """Takes a complete message or command from the received bytes, if there is one."""
        end_mark = END_OF_DATA if self._in_data else b"\r\n"
        content, found, rest = self._received.partition(end_mark)
        if not found:
            return False
        self._received = rest
        if self._in_data:
            self._in_data = False
            message_id = MESSAGE_ID.search(content)
            self._note(ACCEPTED, message_id.group(1) if message_id else b"-")
            self._transport.write(b"250 OK\r\n")
        else:
            self._transport.write(self._answer(content))
        return True

    def _answer(self, line: bytes) -> bytes:
        command = line[:4].upper()
        if command == b"RCPT":
            return self._answer_rcpt(line)
        if command == b"DATA":
            self._in_data = True
            return b"354 go on\r\n"
        if command == b"QUIT":
            Dialogue.goodbyes += 1
            # The client may have left without reading the reply: the outcome is the same.
            if self._recipient.startswith(HARD.encode()) or Dialogue.goodbyes % 10 == 0:
                return b""
            self._transport.write(b"221 bye\r\n")
            self._transport.close()
            return b""
        if command == b"EHLO":
            return b"250-sink.example\r\n250 8BITMIME\r\n"
        return b"250 OK\r\n"

    def _answer_rcpt(self, line: bytes) -> bytes:
        self._recipient = ADDRESS.search(line).group(1)
        self._note(ATTEMPTED, b"-")
        if self._recipient.startswith(HANG.encode()):
            return b""
        if self._recipient.startswith(SOFT.encode()):
            return b"451 4.3.0 try again later\r\n"
        if self._recipient.startswith(HARD.encode()):
            return b"550 5.1.1 no such mailbox\r\n"
        return b"250 OK\r\n"

    def _note(self, what: str, message_id: bytes) -> None:
        fields = (
            f"{time.monotonic():.6f}",
            str(self._port_number),
            what,
            self._recipient.decode(),
            message_id.decode(),
        )
        self._output.write("\t".join(fields) + "\n")


async def serve(path: str, port_count: int) -> None:
    loop = asyncio.get_running_loop()
    with open(path, "w", buffering=1) as output:
        servers = [
            await loop.create_server(lambda n=n: Dialogue(n, output), "127.0.0.1", 0, backlog=1000)
            for n in range(port_count)
        ]
        print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
        # Runs until the parent process closes the pipe or ends.
        await loop.run_in_executor(None, sys.stdin.read)


@dataclass(frozen=True)
class Note:
    """The server's note about one recipient."""

    time: float
    port_number: int
    what: str
    recipient: str
    message_id: str


class Sink:
    """The server as a process."""

    def __init__(self, folder: Path, port_count: int = 1) -> None:
        self._path = folder / "sink.tsv"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.sink", str(self._path), str(port_count)],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ports = self._process.stdout.readline().split()
        assert len(ports) == port_count, "the sink did not start"
        self.smtp_urls = [f"smtp://127.0.0.1:{port}" for port in ports]

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def notes(self) -> list[Note]:
        """Returns all notes so far."""
        notes = []
        for line in self._path.read_text().splitlines(keepends=True):
            fields = line.rstrip("\n").split("\t")
            # The last line may be incomplete.
            if line.endswith("\n"):
                notes.append(Note(float(fields[0]), int(fields[1]), *fields[2:]))
        return notes

    def accepted(self) -> list[Note]:
        return [note for note in self.notes() if note.what == ACCEPTED]

    def attempted(self, beginning: str) -> Counter[str]:
        """Counts the attempts per recipient with this prefix."""
        notes = self.notes()
        return Counter(
            note.recipient
            for note in notes
            if note.what == ATTEMPTED and note.recipient.startswith(beginning)
        )

    def wait_for(self, count: int, seconds: float) -> list[Note]:
        """Waits until this many e-mails, duplicates included, were accepted; returns them."""
        mark = f"\t{ACCEPTED}\t"
        # Only counted: parsing every line repeatedly would take time from the service.
        until(
            lambda: self._path.read_text().count(mark) >= count,
            f"{count} mails",
            seconds,
            pause=0.5,
        )
        return self.accepted()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
