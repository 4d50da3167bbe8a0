"""Parts of the examples that resolve the recipients of many customers over StreamRecipients."""

from __future__ import annotations

import pathlib
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE / "python" / "generated"))
try:
    from contact.v1 import recipients_pb2
except ImportError:
    sys.exit("there are no stubs yet: run python/generate.sh first")

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
CHANNEL_OPTIONS = [
    # Part of the contract: balances requests over the instances, and repeats a stream that had no
    # result yet. Everything else is resumed by the examples.
    ("grpc.service_config", (HERE.parent / "proto/contact/v1/service_config.json").read_text()),
    # A stream has no deadline, as it may take hours: pings find out that the service is gone.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # `wait_after` decides how long to wait between two attempts.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # The time limit of an attempt to connect, TLS handshake included.
    ("grpc.min_reconnect_backoff_ms", 5_000),
]


class Stopped(Exception):
    """The run cannot continue; the text says why."""


@dataclass(frozen=True)
class Walk:
    """Resolves all customers in the order of their numbers, over as many streams as it takes."""

    stub: Any
    metadata: list[tuple[str, str]]
    purpose: recipients_pb2.Purpose
    say: Callable[[str], None]
    attempts: int = 10

    def results(self, after: str = "") -> Iterator[list[recipients_pb2.RecipientsResult]]:
        """Yields the results of each message, of the customers after this number.

        Raises `Stopped` after as many `attempts` in a row without a result.
        """
        failures = 0
        while True:
            has_results = False
            requests = iter([self._request(after)])
            stream = self.stub.StreamRecipients(requests, metadata=self.metadata)
            try:
                for response in stream:
                    # The first message has the time of the begin only.
                    if response.results:
                        yield list(response.results)
                        after, has_results = response.results[-1].customer_number, True
                return
            except grpc.RpcError as error:
                failures = 1 if has_results else failures + 1
                wait_after(error, failures, self.attempts, self.say)
            finally:
                stream.cancel()

    def _request(self, after: str) -> recipients_pb2.StreamRecipientsRequest:
        everyone = recipients_pb2.AllCustomers(after_customer_number=after)
        return recipients_pb2.StreamRecipientsRequest(purpose=self.purpose, all_customers=everyone)


def wait_after(error: Any, failures: int, attempts: int, say: Callable[[str], None]) -> None:
    """Waits before the next attempt, or raises `Stopped` if there should be none."""
    if error.code() != grpc.StatusCode.UNAVAILABLE or failures >= attempts:
        raise Stopped(describe(error)) from None
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (failures - 1))
    # Jitter: the clients of a stopped instance must not return all at once.
    seconds = max(random.uniform(longest / 2, longest), retry_delay(error))
    say(f"{describe(error)}; trying again in {seconds:.1f} s")
    time.sleep(seconds)


def retry_delay(error: Any) -> float:
    """Returns the seconds that the service asks the client to wait, or 0."""
    info = error_details_pb2.RetryInfo()
    details = getattr(rpc_status.from_call(error), "details", [])
    if any(detail.Unpack(info) for detail in details):
        return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return 0.0


def reason_of(status: Any) -> str:
    """Returns the reason of an error. Programs compare it; the text is for people."""
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return code_pb2.Code.Name(status.code) if status.code in code_pb2.Code.values() else "UNKNOWN"


def describe(error: Any) -> str:
    """Returns code, reason and text of an error in one line."""
    status = rpc_status.from_call(error)  # decoded from grpc-status-details-bin
    reason = f" {reason_of(status)}" if status and status.details else ""
    return f"{error.code().name}{reason}: {error.details()}"
