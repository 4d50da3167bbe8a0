"""Settings of the tool: flags, or environment variables."""

from __future__ import annotations

import argparse
import base64
import json
import os
import pathlib
from dataclasses import dataclass, field

import grpc

from texts import LANGUAGES, default_language

DESCRIPTION = """A call center's tool: finds the customer of a caller, checks who is calling, and has phone orders decided.
Keys are shown in the last line of each screen."""


@dataclass(frozen=True)
class Settings:
    """The values of the command line."""

    target: str
    token_file: pathlib.Path | None
    credentials: grpc.ChannelCredentials | None
    timeout: float
    language: str
    incoming: str
    supervisor: bool
    # Not in the representation, which an error report would show.
    token_variable: str = field(repr=False)

    def token(self) -> str:
        """Returns the token. A file is read each time, so that a renewed token is used without a restart."""
        if self.token_file:
            return self.token_file.read_text(encoding="utf-8").strip()
        return self.token_variable

    def agent(self) -> str:
        """Returns the `sub` of the token for the title, without verifying it: only the service does that."""
        try:
            payload = self.token().split(".")[1]
            padded = payload + "=" * (-len(payload) % 4)
            return str(json.loads(base64.urlsafe_b64decode(padded)).get("sub", ""))
        except (IndexError, ValueError, OSError):
            return ""


def read(arguments: list[str] | None = None) -> Settings:
    """Reads the command line. Ends the process with a message if it is invalid."""
    parser = argparse.ArgumentParser(
        prog="call_center",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    env = os.environ.get
    parser.add_argument(
        "--target",
        default=env("CONTACT_SERVICE_TARGET", "127.0.0.1:50051"),
        help="host and port of the service (CONTACT_SERVICE_TARGET)",
    )
    # No flag for the token itself: other users of the machine can read the arguments of a process.
    parser.add_argument(
        "--token-file",
        type=pathlib.Path,
        default=env("CONTACT_SERVICE_TOKEN_FILE"),
        help="file with the token, read for each request (CONTACT_SERVICE_TOKEN_FILE); "
        "without it the token is in CONTACT_SERVICE_TOKEN",
    )
    parser.add_argument(
        "--tls", action="store_true", help="use TLS with the certificates of the system"
    )
    parser.add_argument("--ca", type=pathlib.Path, help="use TLS with this root certificate (PEM)")
    parser.add_argument("--cert", type=pathlib.Path, help="client certificate (PEM), with --key")
    parser.add_argument("--key", type=pathlib.Path, help="key of the client certificate (PEM)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="deadline of a request (default: 5)",
    )
    parser.add_argument(
        "--language", choices=sorted(LANGUAGES), default=default_language(), help="default: by LANG"
    )
    parser.add_argument(
        "--incoming",
        default="",
        metavar="CHANNEL",
        help="caller's number or writer's address, to begin with",
    )
    parser.add_argument(
        "--supervisor", action="store_true", help="start with the supervisor's view"
    )
    args = parser.parse_args(arguments)
    if bool(args.cert) != bool(args.key):
        parser.error("--cert and --key belong together")
    try:
        return Settings(
            target=args.target,
            token_variable=env("CONTACT_SERVICE_TOKEN", ""),
            token_file=args.token_file,
            credentials=_credentials(args),
            timeout=args.timeout,
            language=args.language,
            incoming=args.incoming,
            supervisor=args.supervisor,
        )
    except OSError as error:
        parser.error(str(error))


def _credentials(args: argparse.Namespace) -> grpc.ChannelCredentials | None:
    if not (args.tls or args.ca or args.cert):
        return None
    root, key, cert = (
        path.read_bytes() if path else None for path in (args.ca, args.key, args.cert)
    )
    return grpc.ssl_channel_credentials(root, key, cert)
