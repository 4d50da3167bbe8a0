"""Hand-written HTTP/2 frames, because no library sends what an attacker sends."""

from __future__ import annotations

import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
INITIAL_WINDOW_SIZE = 4
CANCEL = 8
# Entries of HPACK's static table.
STATIC_ENTRIES = 61

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


def header(name: str, value: str, *, is_indexed: bool = False) -> bytes:
    """Encodes a literal header, which can be added to the dynamic table."""
    parts = [name.encode(), value.encode()]
    literal = b"\x40" if is_indexed else b"\0"
    return literal + b"".join(integer(len(part), 7) + part for part in parts)


def rpc_header_block(method: str, token: str = "") -> bytes:
    """Returns the header block of an RPC; without a token its message is never read."""
    return header_block(rpc_path(method), token)


def rpc_path(method: str) -> str:
    return f"/contact.v1.ContactService/{method}"


def header_block(path: str, token: str = "") -> bytes:
    """Returns the header block of a request."""
    return b"".join(header(name, value) for name, value in headers_of(path, token).items())


def indexed_header_blocks(path: str, token: str) -> tuple[bytes, bytes]:
    """Returns the header blocks of the first request of a connection, and of each later one with the
    same headers."""
    headers = headers_of(path, token)
    first = b"".join(header(name, value, is_indexed=True) for name, value in headers.items())
    # The newest entry of the dynamic table has the lowest index.
    indices = range(STATIC_ENTRIES + len(headers), STATIC_ENTRIES, -1)
    return first, b"".join(integer(index, 7, 0x80) for index in indices)


def headers_of(path: str, token: str) -> dict[str, str]:
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
    return headers


def message(encoded: bytes) -> bytes:
    """Returns a message with its gRPC prefix."""
    return b"\0" + len(encoded).to_bytes(4, "big") + encoded


HANDSHAKE = PREFACE + settings()
