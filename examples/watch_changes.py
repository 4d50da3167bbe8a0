#!/usr/bin/env python3
"""Follows the change feed, as a cache does: drop what changed, and read it again on demand.

    pip install -r python/requirements.txt && python/generate.sh
    export CONTACT_SERVICE_TOKEN="$(contact-service token --sub cache --scope changes.watch)"
    ./watch_changes.py --cursor-file cursor.txt

Each change is a line: time, kind, customer number, contact id, names of fields. The cursor is kept
in a file, so that the next start resumes after the last change; a change may arrive twice, none is
omitted. --until ends after that many changes.
"""

import argparse
import os
import pathlib
import sys
import time

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE / "python" / "generated"))
try:
    from contact.v1 import audit_pb2, contact_service_pb2_grpc
except ImportError:
    sys.exit("there are no stubs yet: run python/generate.sh first")

PAUSE_SECONDS = 1.0
CHANNEL_OPTIONS = [
    # A watch has no deadline: pings find out that the service is gone.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
# What a new try helps against. Any other failure ends the watch.
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


def main():
    args = parse_arguments()
    metadata = [("authorization", f"Bearer {args.token}")] if args.token else []
    cursor = args.cursor_file.read_text().strip() if args.cursor_file.exists() else ""
    seen = 0
    with grpc.insecure_channel(args.target, options=CHANNEL_OPTIONS) as channel:
        stub = contact_service_pb2_grpc.ContactServiceStub(channel)
        while True:
            try:
                request = audit_pb2.WatchChangesRequest(cursor=cursor)
                for response in stub.WatchChanges(request, metadata=metadata):
                    for change in response.events:
                        show(change)
                    # Only now: what is not dealt with comes again after a crash.
                    cursor = response.cursor
                    keep(args.cursor_file, cursor)
                    seen += len(response.events)
                    if args.until and seen >= args.until:
                        return
                # The service stops; another instance continues.
            except grpc.RpcError as error:
                # The cursor is too old, or the database was restored.
                if reason_of(error) == "CURSOR_EXPIRED":
                    print("cursor expired: drop the whole cache", file=sys.stderr)
                    cursor = ""
                elif error.code() not in PASSING:
                    sys.exit(f"{error.code().name}: {error.details()}")
            time.sleep(PAUSE_SECONDS)


def show(change):
    moment = change.event_time.ToJsonString()
    fields = ",".join(change.changed_fields)
    kind = kind_of(change)
    print(moment, kind, change.customer_number, change.contact_id, fields, sep="\t", flush=True)


def kind_of(change):
    """The name of the kind; its number where these stubs are older than the service."""
    kinds = audit_pb2.EventKind
    if change.kind not in kinds.values():
        return str(change.kind)
    return kinds.Name(change.kind).removeprefix("EVENT_KIND_")


def keep(file, cursor):
    """In one step: a crash leaves the old cursor or the new one."""
    new = file.with_suffix(".new")
    new.write_text(cursor + "\n")
    new.replace(file)


def reason_of(error):
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return ""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="127.0.0.1:50051", help="host and port of the service")
    parser.add_argument("--token", default=os.environ.get("CONTACT_SERVICE_TOKEN", ""))
    parser.add_argument("--cursor-file", type=pathlib.Path, default=pathlib.Path("cursor.txt"))
    parser.add_argument("--until", type=int, default=0, help="end after so many changes")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
