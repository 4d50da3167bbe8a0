"""Child processes, which are ended by their id."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support import processes
from support.processes import Failed

START_SECONDS, STOP_SECONDS = 60.0, 20.0


def is_open(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


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
                env=processes.environment(**locale(folder), **settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # So that an interrupt of the terminal reaches only the parent, which ends all of
                # them.
                start_new_session=True,
                **(account.popen_options() if account else {}),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def expect_alive(self) -> None:
        if not self.is_alive():
            raise Failed(f"{self.name} ended: {self.last_words()}")

    def last_words(self) -> str:
        return processes.last_lines(self.log.read_text(errors="replace"))

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
    options = account.popen_options() if account else {}
    return processes.run(arguments, folder, locale(folder) | settings, START_SECONDS, **options)


def locale(folder: Path) -> dict[str, str]:
    """Returns the settings that make programs independent of the user's own."""
    return {"HOME": str(folder), "LC_ALL": "C.UTF-8"}


def kill_with_children(parent: int) -> None:
    """Sends SIGKILL to a postmaster and all of its children; returns when the children are gone."""
    # A stopped postmaster forks no more children that would survive.
    os.kill(parent, signal.SIGSTOP)
    # One that has not ended keeps the shared memory, and with it the next start of the server.
    while found := children(parent):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    os.kill(parent, signal.SIGKILL)


def children(parent: int) -> list[int]:
    """Returns the running children of a process."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            # The name, in brackets, may contain spaces.
            state, parent_pid = status.read_text().rpartition(")")[2].split()[:2]
            if int(parent_pid) == parent and state != "Z":
                found.append(int(status.parent.name))
    return found


def command_line(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
