"""A terminal with a shell, in which commands are typed one after the other."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import time

from support.processes import Failed

# Printed by the shell before each prompt, with the exit code of the command.
PROMPT = re.compile(r"\n?<<(\d+)>>\r?\n")
PREPARE = (
    "PS1= PS2= PROMPT_COMMAND='printf \"\\n<<%s>>\\n\" $?'; stty -echo rows 40 columns 120; :\n"
)
ESCAPES = re.compile(r"\x1b(\[[0-9;?<>=]*[A-Za-z]|\][^\x07\x1b]*(\x07|\x1b\\)|[()].|[=>78])")
LONGEST_ESCAPE = 200
# A build prints much; a text that is waited for is at the end.
SEARCHED = 100_000
TIMEOUT_SECONDS = 30.0


class Terminal:
    """One shell on a pseudo-terminal of its own."""

    def __init__(self, shell: list[str]) -> None:
        self._process, self._descriptor = pty.fork()
        if self._process == 0:
            os.execvp(shell[0], shell)
        # Output since the last command was typed.
        self._output = ""
        self.press(PREPARE)
        self.finish(TIMEOUT_SECONDS)

    @property
    def output(self) -> str:
        """The output of the current command without colors and movements of the cursor."""
        return self._output.replace("\r\n", "\n").replace("\r", "\n")

    def type(self, command: str) -> None:
        """Types a command and does not wait for its end."""
        self._output = ""
        self.press(command + "\n")

    def press(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def run(self, command: str, seconds: float) -> int:
        """Runs a command to its end; returns its exit code."""
        self.type(command)
        return self.finish(seconds)

    def finish(self, seconds: float) -> int:
        """Waits until the current command has ended; returns its exit code."""
        found = self._read_until(PROMPT, seconds)
        if not found:
            raise Failed(f"no end after {seconds:g} s")
        self._output = self._output[: found.start()]
        return int(found[1])

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """Waits for a text in the output of the current command, which must not end before."""
        either = re.compile(f"(?P<shown>{pattern})|(?P<end>{PROMPT.pattern})")
        found = self._read_until(either, seconds)
        if not found:
            raise Failed(f"no {pattern!r} after {seconds:g} s")
        if found["end"]:
            raise Failed(f"ended before it showed {pattern!r}")
        return found

    def close(self) -> None:
        os.close(self._descriptor)
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)

    def _read_until(self, pattern: re.Pattern[str], seconds: float) -> re.Match[str] | None:
        deadline = time.monotonic() + seconds
        while not (found := pattern.search(self._output, max(0, len(self._output) - SEARCHED))):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                return None
            try:
                chunk = os.read(self._descriptor, 65536).decode(errors="replace")
            except OSError:
                raise Failed("the shell has ended") from None
            # An escape sequence may arrive in two parts.
            start = max(0, len(self._output) - LONGEST_ESCAPE)
            recent = ESCAPES.sub("", self._output[start:] + chunk)
            self._output = self._output[:start] + recent
        return found
