"""Reads responses of clients on stdin for scripts/clients.

Usage: answers.py emails|rejection|documents
"""

import base64
import json
import sys

from google.rpc import error_details_pb2


def emails(text):
    """Returns the recipients' addresses of a ResolveRecipients response."""
    for recipient in json.loads(text)["resolution"].get("recipients", []):
        print(recipient["email"])


def rejection(text):
    """Returns code, reason and domain of an error as `buf curl` prints it."""
    error = json.loads(text)
    for detail in error.get("details", []):
        if detail["type"] == "google.rpc.ErrorInfo":
            value = detail["value"] + "=" * (-len(detail["value"]) % 4)
            info = error_details_pb2.ErrorInfo.FromString(base64.b64decode(value))
            print(f"{error['code'].upper()} {info.reason} ({info.domain}): {error['message']}")


def documents(text):
    """Fails unless the text consists of one or more JSON documents."""
    decoder = json.JSONDecoder()
    rest = text.strip()
    if not rest:
        sys.exit("no output")
    while rest:
        try:
            _, end = decoder.raw_decode(rest)
        except ValueError as error:
            sys.exit(f"{error}: {rest[:200]}")
        rest = rest[end:].lstrip()


{"emails": emails, "rejection": rejection, "documents": documents}[sys.argv[1]](sys.stdin.read())
