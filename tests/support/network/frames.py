"""Hand-written HTTP/2 frames, because no library sends what an attacker sends."""

from __future__ import annotations

import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
INITIAL_WINDOW_SIZE = 4
CANCEL = 8

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def settings(**values: int) -> bytes:
    """Returns a SETTINGS frame with at most one value."""
    pairs = [struct.pack(">HI", INITIAL_WINDOW_SIZE, value) for value in values.values()]
    return frame(SETTINGS, 0, 0, b"".join(pairs))


def integer(value: int, prefix_bits: int, first: int = 0) -> bytes:
    """Encodes an HPACK integer after the bits of `first`."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([first | value])
    coded = bytearray([first | limit])
    value -= limit
    while value >= 128:
        coded.append(value % 128 + 128)
        value //= 128
    coded.append(value)
    return bytes(coded)


def header(name: str, value: str) -> bytes:
    """Encodes a literal header without indexing."""
    parts = [name.encode(), value.encode()]
    return b"\0" + b"".join(integer(len(part), 7) + part for part in parts)


def rpc_header_block(method: str, token: str = "") -> bytes:
    """Returns the header block of an RPC; without a token its message is never read."""
    return header_block(f"/contact.v1.ContactService/{method}", token)


def header_block(path: str, token: str = "") -> bytes:
    """Returns the header block of a request."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    if token:
        headers["authorization"] = f"Bearer {token}"
    return b"".join(header(name, value) for name, value in headers.items())


def message(encoded: bytes) -> bytes:
    """Returns a message with its gRPC prefix."""
    return b"\0" + len(encoded).to_bytes(4, "big") + encoded


HANDSHAKE = PREFACE + settings()
