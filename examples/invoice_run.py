#!/usr/bin/env python3
"""An invoice run: how each customer gets its invoice, resolved in one stream.

    pip install -r python/requirements.txt && python/generate.sh
    export CONTACT_SERVICE_TOKEN="$(contact-service token --sub invoices --ttl 8h \\
        --scope "recipients.resolve recipients.resolve_all")"
    ./invoice_run.py customers.txt --output invoices.csv --report unreached.txt
    ./invoice_run.py --all --output invoices.csv --report unreached.txt

The customer numbers are in a file or on standard input, one per line, and are held in memory, a
million of them in about 70 MB. With --all the service lists them. An interrupted run continues with
the same arguments and --resume.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import pathlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

import grpc
from recipient_streams import CHANNEL_OPTIONS, Stopped, Walk, reason_of, wait_after
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TimeRemainingColumn,
)
from rich.text import Text

# After recipient_streams, which finds the generated stubs.
from contact.v1 import contact_service_pb2_grpc, recipients_pb2

NUMBERS_PER_MESSAGE = 1000  # the service takes no more
CUSTOMER_NUMBER = re.compile(r"[A-Za-z0-9-]{1,32}")
COLUMNS = ["customer_number", "delivery", "emails", "attention_line", "error"]

console = Console(stderr=True, highlight=False)


class WrongInput(Exception):
    """The run cannot begin, and why."""


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
    last_number: str = ""
    unreached: list[Answer] = field(default_factory=list)
    failed: list[Answer] = field(default_factory=list)

    def note(self, answer: Answer) -> None:
        self.answered += 1
        self.last_number = answer.customer_number
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


@dataclass
class Results:
    """Where results go: the output, the report and the progress bar."""

    report: Report
    lines: Lines
    output: TextIO
    progress: Progress
    task: TaskID

    def write(self, results: list[recipients_pb2.RecipientsResult]) -> None:
        for result in results:
            answer = Answer.of(result)
            self.lines.write(self.output, answer)
            self.report.note(answer)
        # What was written is not asked about again, so it has to leave this process.
        self.output.flush()
        self.progress.update(self.task, completed=self.report.answered)


class Run:
    """Asks about all numbers of a list, over as many streams as it takes."""

    def __init__(self, numbers: list[str], results: Results) -> None:
        self.numbers, self.results, self.report = numbers, results, results.report

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
                wait_after(error, failures, attempts, say)

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
        self.results.write(list(response.results))


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
    path: str, resume: bool, lines: Lines, numbers: list[str] | None, report: Report
) -> Iterator[TextIO]:
    """Opens the output for appending, and counts its lines in the report. No numbers: all customers."""
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
                first = report.answered
                if numbers is not None and numbers[first : first + 1] != [answer.customer_number]:
                    raise ValueError(f"row {first + 1} is of another list of numbers")
                report.note(answer)
        except (ValueError, TypeError, AttributeError, csv.Error) as error:
            raise WrongInput(f"{path} cannot be resumed: {error}") from None
        if pathlib.Path(path).stat().st_size == 0:
            lines.begin(file)
        yield file


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Who gets the invoice how, for many customers?")
    parser.add_argument("numbers", nargs="?", default="-", help="a file; none: standard input")
    parser.add_argument("--all", action="store_true", help="all customers, instead of a file's")
    parser.add_argument("--output", default="-", help="a new file; none: standard output")
    parser.add_argument("--format", choices=["csv", "jsonl"], default="csv")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    parser.add_argument("--report", help="a file for the report; none: standard error")
    parser.add_argument(
        "--attempts", type=int, default=10, help="attempts without an answer before giving up"
    )
    parser.add_argument("--target", default="127.0.0.1:50051", help="host and port of the service")
    parser.add_argument("--token", default=os.environ.get("CONTACT_SERVICE_TOKEN"))
    args = parser.parse_args()
    if args.resume and args.output == "-":
        parser.error("--resume needs --output")
    if args.all and args.numbers != "-":
        parser.error("--all takes no file of numbers")
    return args


def numbers_of(args: argparse.Namespace) -> list[str] | None:
    """Returns the customer numbers to ask about, or None for all customers."""
    if args.all:
        return None
    if args.numbers == "-":
        return read_numbers(sys.stdin)
    with open(args.numbers, encoding="utf-8") as file:
        return read_numbers(file)


def run(args: argparse.Namespace) -> Report:
    numbers = numbers_of(args)
    report, lines = Report(), Lines(args.format)
    metadata = [("authorization", f"Bearer {args.token}")] if args.token else []
    columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    # A service on another machine speaks TLS: grpc.secure_channel(target, credentials).
    with (
        open_output(args.output, args.resume, lines, numbers, report) as output,
        grpc.insecure_channel(args.target, CHANNEL_OPTIONS) as channel,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        total = None if numbers is None else len(numbers)
        task = progress.add_task("", total=total, completed=report.answered)
        results = Results(report, lines, output, progress, task)
        stub = contact_service_pb2_grpc.ContactServiceStub(channel)
        if numbers is None:
            walk = Walk(stub, metadata, recipients_pb2.PURPOSE_INVOICE, say, args.attempts)
            for batch in walk.results(after=report.last_number):
                results.write(batch)
        else:
            Run(numbers, results).finish(stub, metadata, args.attempts)
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
