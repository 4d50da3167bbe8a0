"""Peers of the service in image_trial.sh, in a network of their own.

A name server that resolves every name to this machine, an identity provider with HTTPS and a
certificate of a test authority, and a mail server.

Usage: image_peers.py FOLDER
The folder contains jwks.json. The peers write authority.pem, and one line per lookup, request and
received mail to names, requests and mails. Prints a line when all three listen.
"""

from __future__ import annotations

import socketserver
import ssl
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme
from aiosmtpd.controller import Controller

IDENTITY_PROVIDER = "identity.example"
HERE = bytes([127, 0, 0, 1])
HEADER = struct.Struct("!6H")
TYPE_A = 1
ANSWER_WITHOUT_ERROR = 0x8180

folder = Path(sys.argv[1])


def note(file: str, line: str) -> None:
    with (folder / file).open("a") as output:
        output.write(line + "\n")


class NameServer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        query, socket = self.request
        end = query.index(0, HEADER.size)
        name = labels(query[HEADER.size : end])
        question = query[HEADER.size : end + 5]
        is_for_address = struct.unpack("!H", question[-4:-2])[0] == TYPE_A
        note("names", name)
        answer = HEADER.pack(
            HEADER.unpack_from(query)[0], ANSWER_WITHOUT_ERROR, 1, int(is_for_address), 0, 0
        )
        answer += question
        if is_for_address:
            # The name again, as a reference to the question; class IN, valid for a minute.
            answer += struct.pack("!HHHIH", 0xC00C, TYPE_A, 1, 60, len(HERE)) + HERE
        socket.sendto(answer, self.client_address)


def labels(encoded: bytes) -> str:
    parts = []
    while encoded:
        length = encoded[0]
        parts.append(encoded[1 : 1 + length].decode())
        encoded = encoded[1 + length :]
    return ".".join(parts)


class IdentityProvider(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = (folder / "jwks.json").read_bytes()
        note("requests", self.path)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class MailServer:
    async def handle_DATA(self, server, session, envelope) -> str:
        note("mails", " ".join(envelope.rcpt_tos))
        return "250 OK"


def main() -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(IDENTITY_PROVIDER).configure_cert(context)

    names = socketserver.UDPServer(("127.0.0.1", 53), NameServer)
    threading.Thread(target=names.serve_forever, daemon=True).start()
    Controller(MailServer(), hostname="127.0.0.1", port=1025).start()
    web = ThreadingHTTPServer(("127.0.0.1", 443), IdentityProvider)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    print("listening", flush=True)
    web.serve_forever()


main()
