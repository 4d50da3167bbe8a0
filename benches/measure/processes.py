"""The service and the tools as processes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.processes import environment, free_port, last_lines, run

from .figures import RowFailed

START_SECONDS, STOP_SECONDS = 30, 30
# Far above the time of any measurement; a process that hangs must end.
LONGEST_SECONDS = 3600
AGENTS = 4
SCOPES = (
    "customers.read customers.write contact_data.write contacts.read contacts.write channels.verify "
    "customers.find phone_password.check recipients.resolve recipients.resolve_all"
)


@dataclass(frozen=True)
class Tools:
    """The executables under test, and their working directory."""

    service: Path
    generate: Path
    load: Path
    # The folder of Node's modules with PostGraphile, if it is needed.
    peer: Path | None
    # The service keeps its development keys here, so that all of its processes share them.
    folder: Path


def run_tool(arguments: Sequence[str | Path], folder: Path, **settings: str) -> str:
    """Runs a program of a measurement, and returns its output."""
    return run(arguments, folder, settings, LONGEST_SECONDS)


class Service:
    """A process of the service, from its start until it ended on SIGTERM."""

    def __init__(self, tools: Tools, database_url: str, **settings: str) -> None:
        self.tools = tools
        self.database_url = database_url
        self.address = f"127.0.0.1:{free_port()}"
        self._settings = {
            "DATABASE_URL": database_url,
            "LISTEN_ADDR": self.address,
            "HTTP_ADDR": "127.0.0.1:0",
            "METRICS_ADDR": "127.0.0.1:0",
            "CHANNEL_CHECKS_PER_MINUTE": "none",
            "RUST_LOG": "warn",
            **settings,
        }
        self._log = tools.folder / "service.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.token = ""
        self.agents = ""

    @property
    def pid(self) -> int:
        assert self._process, "the service is not running"
        return self._process.pid

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self.tools.service, "serve"],
                cwd=self.tools.folder,
                env=environment(**self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_ready()
            self.token = self._mint("bench")
            self.agents = ",".join(self._mint(f"agent-{nth}") for nth in range(AGENTS))
        except BaseException:
            self._kill()
            raise
        return self

    def _mint(self, subject: str) -> str:
        token: list[str | Path] = [
            self.tools.service,
            "token",
            "--sub",
            subject,
            "--ttl",
            "2h",
            "--scope",
            SCOPES,
        ]
        return run_tool(token, self.tools.folder, **self._settings)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process
        try:
            self._process.send_signal(signal.SIGTERM)
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            self._kill()
        # The first failure is the one to report.
        if error is None and code is None:
            raise RowFailed(f"the service did not end within {STOP_SECONDS} s of SIGTERM")
        if error is None and code != 0:
            raise RowFailed(f"the service ended with {code} after SIGTERM: {self.last_words()}")

    def last_words(self) -> str:
        return last_lines(self._log.read_text(errors="replace"))

    def _wait_until_ready(self) -> None:
        assert self._process
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RowFailed(f"the service ended at once: {self.last_words()}")
            check = subprocess.run(
                [self.tools.service, "healthcheck"],
                cwd=self.tools.folder,
                env=environment(**self._settings),
                capture_output=True,
                timeout=START_SECONDS,
                check=False,
            )
            if check.returncode == 0:
                return
            time.sleep(0.1)
        raise RowFailed(f"the service is not ready after {START_SECONDS} s: {self.last_words()}")

    def _kill(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Load:
    """A run of the load generator. It starts immediately; `figures` waits for its end."""

    def __init__(self, service: Service, rpc: str, **options: int | str) -> None:
        self.rpc = rpc
        # An agent may have two phone password checks in flight.
        token = service.agents if rpc == "check-password" else service.token
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self._process = subprocess.Popen(
            [
                service.tools.load,
                f"--address={service.address}",
                f"--token={token}",
                f"--rpc={rpc}",
                *flags,
            ],
            cwd=service.tools.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def figures(self, may_fail: bool = False) -> dict[str, Any]:
        """Returns the printed figures. Fails if a request failed, unless `may_fail`."""
        try:
            output, errors = self._process.communicate(timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            raise RowFailed(f"load {self.rpc} did not end") from None
        finally:
            self.stop()
        if self._process.returncode != 0:
            code = self._process.returncode
            raise RowFailed(f"load {self.rpc} ended with {code}: {last_lines(errors)}")
        try:
            figures: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise RowFailed(f"load {self.rpc} printed no JSON: {last_lines(output)}") from None
        if figures.get("failed") and not may_fail:
            failed, first = figures["failed"], figures.get("first_error")
            raise RowFailed(f"load {self.rpc}: {failed} requests failed, the first with: {first}")
        return figures

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
