"""The instances of the service as processes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc

from support.contacts import CHANNEL_OPTIONS
from support.polling import until
from support.processes import Failed, free_port

from .processes import START_SECONDS, STOP_SECONDS, Process, run

SCOPES = "customers.write contact_data.write contacts.read contacts.write"
# A grpc.health.v1.Health/Check request for "contact.v1.ContactService", and its response "serving".
HEALTH_REQUEST = b"\n\x19contact.v1.ContactService"
HEALTH_SERVING = b"\x08\x01"
SETTINGS = {"HTTP_ADDR": "127.0.0.1:0", "METRICS_ADDR": "127.0.0.1:0", "RUST_LOG": "info"}
TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Service:
    """Instances on one database, with one token for all of them."""

    def __init__(
        self,
        binary: Path,
        folder: Path,
        instances: Sequence[Mapping[str, str]],
        migrate: Sequence[str] = ("migrate", "up"),
        scopes: str = SCOPES,
    ) -> None:
        """`instances` has the settings of each; commands run with those of the first."""
        # Of instances and commands that are started from now on.
        self.binary = binary
        self._folder = folder
        self._instances = instances
        self._migrate = migrate
        self._scopes = scopes
        self._processes: list[Process] = []
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in instances]
        self.token = ""

    def start(self) -> None:
        self.run(*self._migrate)
        for number in range(len(self.addresses)):
            self._processes.append(self._launch(number))
        for number in range(len(self.addresses)):
            self._wait_until_serving(number)
        self.token = self.run("token", "--sub", "failover", "--scope", self._scopes, "--ttl", "12h")

    def replace(self, number: int) -> None:
        """Stops an instance by SIGTERM and starts the current binary at its address."""
        code = self._processes[number].stop()
        if code:
            raise Failed(f"instance {number + 1} ended with {code} after SIGTERM")
        self._processes[number] = self._launch(number)
        self._wait_until_serving(number)

    def _launch(self, number: int) -> Process:
        return Process(
            f"service{number + 1}",
            [self.binary, "serve"],
            self._folder,
            LISTEN_ADDR=self.addresses[number],
            **SETTINGS,
            **self._instances[number],
        )

    def _wait_until_serving(self, number: int) -> None:
        process, address = self._processes[number], self.addresses[number]
        until(lambda: is_serving(process, address), "the service", START_SECONDS)

    def stop(self) -> None:
        """Sends SIGTERM; the exit codes must be 0."""
        codes = [process.stop() for process in self._processes]
        self._processes.clear()
        if any(codes):
            raise Failed(f"the service ended with {codes} within {STOP_SECONDS:g} s of SIGTERM")

    def end(self) -> None:
        """Ends all running processes, by force if necessary."""
        for process in self._processes:
            process.stop()

    def log(self) -> str:
        """The logs of all instances."""
        texts = (path.read_text(errors="replace") for path in self._folder.glob("service*.log"))
        return TERMINAL_COLOURS.sub("", "".join(texts))

    def run(self, *arguments: str) -> str:
        """Runs another command of the binary and returns its output."""
        return run([self.binary, *arguments], self._folder, **SETTINGS, **self._instances[0])


def is_serving(process: Process, address: str) -> bool:
    process.expect_alive()
    with grpc.insecure_channel(address, CHANNEL_OPTIONS) as channel:
        try:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            return bool(check(HEALTH_REQUEST, timeout=2) == HEALTH_SERVING)
        except grpc.RpcError:
            return False
