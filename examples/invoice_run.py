#!/usr/bin/env python3
"""An invoice run: who gets the invoice how, asked for all customers in one stream.

    pip install -r python/requirements.txt && python/generate.sh
    export CONTACT_SERVICE_TOKEN="$(contact-service token --sub invoices --ttl 8h \\
        --scope recipients.resolve)"
    ./invoice_run.py customers.txt --output invoices.csv --report unreached.txt

The customer numbers stand one a line, in a file or on standard input. They are held in memory, a
million of them in about 70 MB. A run that was cut off goes on with the same arguments and --resume.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import pathlib
import random
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

import grpc
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeRemainingColumn,
)
from rich.text import Text

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE / "python" / "generated"))
try:
    from contact.v1 import contact_service_pb2_grpc, recipients_pb2
except ImportError:
    sys.exit("there are no stubs yet: run python/generate.sh first")

NUMBERS_PER_MESSAGE = 1000  # the service takes no more
CUSTOMER_NUMBER = re.compile(r"[A-Za-z0-9-]{1,32}")
COLUMNS = ["customer_number", "delivery", "emails", "attention_line", "error"]
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
CHANNEL_OPTIONS = [
    # Comes with the contract: a stream that broke off continues with another instance. What is
    # repeated by itself is a stream that had no answer yet; everything else is resumed below.
    ("grpc.service_config", (HERE.parent / "proto/contact/v1/service_config.json").read_text()),
    # A stream has no deadline, as it may take hours: pings find out that the service is gone.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # How long to wait between two attempts is decided here.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]

console = Console(stderr=True, highlight=False)


class WrongInput(Exception):
    """The run cannot begin, and why."""


class Stopped(Exception):
    """The run cannot go on, and why."""


@dataclass(frozen=True)
class Answer:
    """The delivery of one invoice: a line of the output."""

    customer_number: str
    delivery: str = ""
    emails: list[str] = field(default_factory=list)
    attention_line: str = ""
    error: str = ""

    @classmethod
    def of(cls, result: recipients_pb2.RecipientsResult) -> Answer:
        if result.WhichOneof("outcome") != "resolution":
            return cls(result.customer_number, error=reason_of(result.error))
        resolution = result.resolution
        return cls(
            result.customer_number,
            name_of_delivery(resolution.delivery),
            [recipient.email for recipient in resolution.recipients],
            # One line each: --resume cuts off the line that an interruption left unfinished.
            " ".join(resolution.attention_line.splitlines()),
        )

    @property
    def is_reached(self) -> bool:
        """True if the invoice goes by e-mail; false for a delivery that is unknown here."""
        return self.delivery == "EMAIL" and bool(self.emails)


class Lines:
    """The output: CSV or JSON lines, written and read back."""

    def __init__(self, form: str) -> None:
        self.form = form

    def begin(self, file: TextIO) -> None:
        if self.form == "csv":
            self._csv(file).writerow(COLUMNS)

    def write(self, file: TextIO, answer: Answer) -> None:
        if self.form == "csv":
            row = {**vars(answer), "emails": ";".join(answer.emails)}
            self._csv(file).writerow(row.values())
        else:
            file.write(json.dumps(vars(answer), ensure_ascii=False) + "\n")

    def read(self, file: TextIO) -> Iterator[Answer]:
        """The answers of an earlier run. Other files raise all that parsing can raise."""
        if self.form == "jsonl":
            for line in file:
                yield Answer(**json.loads(line))
            return
        rows = csv.DictReader(file, strict=True)
        if rows.fieldnames not in (None, COLUMNS):
            raise ValueError("has other columns")
        for row in rows:
            emails = [email for email in row.pop("emails").split(";") if email]
            yield Answer(**row, emails=emails)

    @staticmethod
    def _csv(file: TextIO) -> Any:
        return csv.writer(file, lineterminator="\n")


@dataclass
class Report:
    """Whom no invoice reaches by e-mail, and which numbers had an error."""

    answered: int = 0
    unreached: list[Answer] = field(default_factory=list)
    failed: list[Answer] = field(default_factory=list)

    def note(self, answer: Answer) -> None:
        self.answered += 1
        if answer.error:
            self.failed.append(answer)
        elif not answer.is_reached:
            self.unreached.append(answer)

    def write(self, file: TextIO) -> None:
        print(f"{self.answered} customer numbers were asked about.", file=file)
        print(f"{len(self.unreached)} customers get nothing by e-mail.", file=file)
        for answer in self.unreached:
            print(f"  {answer.customer_number}  {answer.delivery}", file=file)
        print(f"{len(self.failed)} numbers had an error.", file=file)
        for answer in self.failed:
            print(f"  {answer.customer_number}  {answer.error}", file=file)


class Run:
    """Asks about all numbers, over as many streams as it takes."""

    def __init__(
        self, numbers: list[str], report: Report, lines: Lines, output: TextIO, progress: Progress
    ) -> None:
        self.numbers, self.report, self.lines, self.output = numbers, report, lines, output
        self.progress = progress
        self.task = progress.add_task("", total=len(numbers), completed=report.answered)

    def finish(self, stub: Any, metadata: list[tuple[str, str]], attempts: int) -> None:
        """Asks until all is answered; `attempts` without any answer between are the bound."""
        failures = 0
        while (start := self.report.answered) < len(self.numbers):
            try:
                for response in stub.StreamRecipients(self.requests(start), metadata=metadata):
                    self.take(start, response)
                if self.report.answered < len(self.numbers):
                    raise Stopped("the service ended the stream before everything was answered")
            except grpc.RpcError as error:
                failures = 1 if self.report.answered > start else failures + 1
                if error.code() != grpc.StatusCode.UNAVAILABLE or failures >= attempts:
                    raise Stopped(describe(error)) from None
                self.wait(failures, error)

    def requests(self, start: int) -> Iterator[recipients_pb2.StreamRecipientsRequest]:
        """The messages of a stream. gRPC takes the next one only when there is room for it."""
        for first in range(start, len(self.numbers), NUMBERS_PER_MESSAGE):
            yield recipients_pb2.StreamRecipientsRequest(
                customer_numbers=self.numbers[first : first + NUMBERS_PER_MESSAGE],
                purpose=recipients_pb2.PURPOSE_INVOICE,
            )

    def take(self, start: int, response: recipients_pb2.StreamRecipientsResponse) -> None:
        first, count = self.report.answered, len(response.results)
        # A service that does not count its answers yet leaves this at 0.
        if response.answered_count and start + response.answered_count != first + count:
            raise Stopped("answers were lost: the service counts others than arrived")
        requested = self.numbers[first : first + count]
        if [result.customer_number for result in response.results] != requested:
            raise Stopped("the service answered other numbers than were asked next")
        for result in response.results:
            answer = Answer.of(result)
            self.lines.write(self.output, answer)
            self.report.note(answer)
        # What was written is not asked about again, so it has to leave this process.
        self.output.flush()
        self.progress.update(self.task, completed=self.report.answered)

    def wait(self, failures: int, error: Any) -> None:
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (failures - 1))
        # Many clients that were cut off at the same moment shall not come back at the same moment.
        seconds = random.uniform(longest / 2, longest)
        say(f"{describe(error)}; trying again in {seconds:.1f} s")
        time.sleep(seconds)


class Rate(ProgressColumn):
    """How many numbers are answered in a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")


def say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def name_of_delivery(delivery: int) -> str:
    try:
        return recipients_pb2.Delivery.Name(delivery).removeprefix("DELIVERY_")
    except ValueError:
        return f"UNKNOWN_{delivery}"


def reason_of(status: Any) -> str:
    """The reason of an error. Programs act upon it, never upon the text."""
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return code_pb2.Code.Name(status.code) if status.code in code_pb2.Code.values() else "UNKNOWN"


def describe(error: Any) -> str:
    status = rpc_status.from_call(error)  # decoded from grpc-status-details-bin
    reason = f" {reason_of(status)}" if status and status.details else ""
    return f"{error.code().name}{reason}: {error.details()}"


def read_numbers(file: TextIO) -> list[str]:
    numbers = []
    for count, line in enumerate(file, start=1):
        number = line.strip()
        if number and not CUSTOMER_NUMBER.fullmatch(number):
            raise WrongInput(f"line {count} is no customer number: {number[:80]!r}")
        if number:
            numbers.append(number)
    return numbers


@contextlib.contextmanager
def open_output(
    path: str, resume: bool, lines: Lines, numbers: list[str], report: Report
) -> Iterator[TextIO]:
    """Opens the output for appending, and counts its lines in the report."""
    if path == "-":
        lines.begin(sys.stdout)
        yield sys.stdout
        return
    if not resume and pathlib.Path(path).exists():
        raise WrongInput(f"{path} exists: go on with --resume, or remove it")
    with open(path, "a+", encoding="utf-8", newline="") as file:
        # The last line may have been cut off in the middle.
        os.truncate(path, pathlib.Path(path).read_bytes().rfind(b"\n") + 1)
        file.seek(0)
        try:
            for answer in lines.read(file):
                if numbers[report.answered : report.answered + 1] != [answer.customer_number]:
                    raise ValueError(f"row {report.answered + 1} is of another list of numbers")
                report.note(answer)
        except (ValueError, TypeError, AttributeError, csv.Error) as error:
            raise WrongInput(f"{path} cannot be resumed: {error}") from None
        if pathlib.Path(path).stat().st_size == 0:
            lines.begin(file)
        yield file


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Who gets the invoice how, for many customers?")
    parser.add_argument("numbers", nargs="?", default="-", help="a file; none: standard input")
    parser.add_argument("--output", default="-", help="a new file; none: standard output")
    parser.add_argument("--format", choices=["csv", "jsonl"], default="csv")
    parser.add_argument("--resume", action="store_true", help="continue after the last line of --output")
    parser.add_argument("--report", help="a file for the report; none: standard error")
    parser.add_argument(
        "--attempts", type=int, default=10, help="attempts without an answer before giving up"
    )
    parser.add_argument("--target", default="127.0.0.1:50051", help="host and port of the service")
    parser.add_argument("--token", default=os.environ.get("CONTACT_SERVICE_TOKEN"))
    args = parser.parse_args()
    if args.resume and args.output == "-":
        parser.error("--resume needs --output")
    return args


def run(args: argparse.Namespace) -> Report:
    if args.numbers == "-":
        numbers = read_numbers(sys.stdin)
    else:
        with open(args.numbers, encoding="utf-8") as file:
            numbers = read_numbers(file)
    report, lines = Report(), Lines(args.format)
    metadata = [("authorization", f"Bearer {args.token}")] if args.token else []
    columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    # A service on another machine speaks TLS: grpc.secure_channel(target, credentials).
    with (
        open_output(args.output, args.resume, lines, numbers, report) as output,
        grpc.insecure_channel(args.target, CHANNEL_OPTIONS) as channel,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        stub = contact_service_pb2_grpc.ContactServiceStub(channel)
        Run(numbers, report, lines, output, progress).finish(stub, metadata, args.attempts)
    return report


def main() -> None:
    args = parse_arguments()
    resume = "" if args.output == "-" else "; --resume goes on from here"
    try:
        report = run(args)
        if args.report:
            with open(args.report, "w", encoding="utf-8") as file:
                report.write(file)
        else:
            report.write(sys.stderr)
    except KeyboardInterrupt:
        say(f"interrupted{resume}")
        sys.exit(130)
    except Stopped as stopped:
        sys.exit(f"{stopped}{resume}")
    except (WrongInput, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
