"""The service as a process that can be killed and restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import grpc

from .contacts import SCOPES, Contacts
from .database import Database
from .polling import TIMEOUT_SECONDS, until
from .processes import environment, free_port

# A grpc.health.v1.Health/Check request for "contact.v1.ContactService", and its response "serving".
HEALTH_REQUEST = b"\n\x19contact.v1.ContactService"
HEALTH_SERVING = b"\x08\x01"


class Service:
    """One instance. It keeps its addresses and its data across restarts."""

    def __init__(self, folder: Path, database: Database, **settings: str) -> None:
        self.folder = folder
        self.database = database
        self.grpc_address = f"127.0.0.1:{free_port()}"
        self.http_address = f"127.0.0.1:{free_port()}"
        self.metrics_address = f"127.0.0.1:{free_port()}"
        self.origin = f"http://{self.http_address}"
        # Root certificate and client certificate where gRPC uses TLS.
        self.credentials: grpc.ChannelCredentials | None = None
        self._settings = settings
        self._process: subprocess.Popen | None = None
        self._logs: list[Path] = []
        self._token = ""
        self._client: Contacts | None = None
        if database.backend == "postgres":
            self.run("migrate", "up")

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def contacts(self) -> Contacts:
        """The client of the running process."""
        assert self._client, "the service was not started"
        return self._client

    @property
    def log(self) -> str:
        """The log of the running process, or of the last one that ran."""
        return self._logs[-1].read_text(errors="replace")

    @property
    def all_logs(self) -> str:
        """The logs of all processes."""
        return "".join(path.read_text(errors="replace") for path in self._logs)

    def run(self, *arguments: str) -> str:
        """Runs another command of the binary and returns its output."""
        ended = subprocess.run(
            [binary(), *arguments],
            cwd=self.folder,
            env=self._environment({}),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert ended.returncode == 0, f"{arguments}: {ended.stderr}"
        return ended.stdout.strip()

    def start(self, descriptors: int | None = None, **settings: str) -> Contacts:
        """Starts a process and waits until it is ready.

        `settings` apply to this process only; `descriptors` limits its open files.
        """
        assert self._process is None, "the service runs already"
        log = self.folder / f"{self.grpc_address.rpartition(':')[2]}-{len(self._logs)}.log"
        self._logs.append(log)
        with log.open("w") as output:
            limit = ["prlimit", f"--nofile={descriptors}"] if descriptors else []
            self._process = subprocess.Popen(
                [*limit, binary(), "serve"],
                cwd=self.folder,
                env=self._environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._client = self.connect(self.credentials)
        self._wait_until_ready()
        if not self._token:
            # Minted once, with the keys that the service created: every command costs the start of
            # a process.
            self._token = self._mint()
            self._client.use_token(self._token)
        return self._client

    def connect(self, credentials: grpc.ChannelCredentials | None) -> Contacts:
        """Opens another client."""
        return Contacts(self.grpc_address, self._token, credentials)

    def monitoring(self, path: str) -> tuple[int, str]:
        """Returns status and body of a path on METRICS_ADDR."""
        try:
            url = f"http://{self.metrics_address}{path}"
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def kill(self) -> None:
        """Sends SIGKILL: nothing is flushed, closed or completed."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Sends SIGTERM; the exit code must be 0."""
        code = self._end(signal.SIGTERM)
        assert code == 0, f"ended with {code} after SIGTERM:\n{self.log[-2000:]}"

    def wait_for_log(self, text: str, seconds: float = TIMEOUT_SECONDS) -> None:
        """Waits until the running process has logged this text."""
        until(lambda: text in self.log, f"{text!r} in the log", seconds)

    def _end(self, how: signal.Signals) -> int | None:
        process, self._process = self._process, None
        if self._client:
            self._client.close()
            self._client = None
        if process is None:
            return None
        process.send_signal(how)
        try:
            return process.wait(TIMEOUT_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _mint(self) -> str:
        return self.run("token", "--sub", "e2e", "--scope", SCOPES, "--ttl", "24h")

    def _wait_until_ready(self) -> None:
        check = self.contacts.channel.unary_unary("/grpc.health.v1.Health/Check")

        def is_ready() -> bool:
            assert self._process and self._process.poll() is None, f"ended at once:\n{self.log}"
            try:
                return check(HEALTH_REQUEST, timeout=1, wait_for_ready=True) == HEALTH_SERVING
            except grpc.RpcError:
                return False

        until(is_ready, "the service to be ready")

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        return {
            **environment(),
            "DATABASE_URL": self.database.url,
            "LISTEN_ADDR": self.grpc_address,
            "HTTP_ADDR": self.http_address,
            "METRICS_ADDR": self.metrics_address,
            "MAIL_FROM": "kontakt@hoster.example",
            "RUST_LOG": "info",
            **self._settings,
            **settings,
        }


def binary() -> str:
    """Returns the binary that scripts/e2e found or built."""
    path = os.environ.get("CONTACT_SERVICE_BIN")
    assert path, "CONTACT_SERVICE_BIN is not set: run scripts/e2e"
    return path
