"""Child processes, which are ended by their id."""

from __future__ import annotations

import os
import pwd
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

START_SECONDS, STOP_SECONDS = 60.0, 20.0


class Failed(Exception):
    """The proof cannot continue, or a check failed."""


def until(ask: Callable[[], T], what: str, seconds: float, pause: float = 0.1) -> T:
    """Polls until the result is true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Failed(f"timed out after {seconds:g} s waiting for {what}")
        time.sleep(pause)


_given: set[int] = set()


def free_port() -> int:
    """Returns a free loopback port below the ephemeral range."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
    raise Failed("found no free port on 127.0.0.1")


def is_open(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Returns an environment with only the variables that every program needs."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": str(folder), "LC_ALL": "C.UTF-8", **settings}


class Account:
    """The user of the cluster's programs: PostgreSQL and PgBouncer do not run as root."""

    def __init__(self) -> None:
        self._user = pwd.getpwuid(os.geteuid())
        if os.geteuid() == 0:
            self._user = pwd.getpwnam("postgres")

    def own(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def popen_options(self) -> dict[str, object]:
        if os.geteuid() != 0:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


class Process:
    """A program with a log of its own."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str | Path],
        folder: Path,
        account: Account | None = None,
        **settings: str,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                arguments,
                cwd=folder,
                env=environment(folder, **settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # So that an interrupt of the terminal reaches only the parent, which ends all of
                # them.
                start_new_session=True,
                **(account.popen_options() if account else {}),
            )

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def expect_alive(self) -> None:
        if not self.is_alive():
            raise Failed(f"{self.name} ended: {self.last_words()}")

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()[-5:]
        return " / ".join(lines) or "no output"

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends the process and returns its exit code."""
        if self.is_alive():
            self._process.send_signal(how)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def run(
    arguments: Sequence[str | Path],
    folder: Path,
    account: Account | None = None,
    **settings: str,
) -> str:
    """Runs a program that must succeed, and returns its output."""
    try:
        ended = subprocess.run(
            arguments,
            cwd=folder,
            env=environment(folder, **settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
            **(account.popen_options() if account else {}),
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{arguments[0]} did not end within {START_SECONDS:g} s") from None
    if ended.returncode != 0:
        output = (ended.stdout + ended.stderr).strip().splitlines()[-5:]
        raise Failed(f"{arguments[0]} ended with {ended.returncode}: {' / '.join(output)}")
    return ended.stdout.strip()
