"""A program in a real terminal: tmux without a window."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .polling import TIMEOUT_SECONDS, until
from .processes import Failed, environment

# A key after Escape would otherwise be taken for one key with Alt.
CONFIGURATION = """set -g escape-time 0
set -g default-terminal tmux-256color
set -g remain-on-exit on
set -g status off
"""
BORDERS = re.compile(r"[\s\u2500-\u259f]+")


class Terminal:
    """One program on a screen of its own."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        size: tuple[int, int] = (80, 24),
        **settings: str,
    ) -> None:
        self.size = size
        self._socket = folder / "tmux"
        self._command = command
        self._configuration = folder / "tmux.conf"
        self._environment = environment(
            LANG="C.UTF-8", TERM="xterm-256color", COLORTERM="truecolor", **settings
        )

    def __enter__(self) -> Terminal:
        self._configuration.write_text(CONFIGURATION)
        width, height = map(str, self.size)
        command = shlex.join(self._command)
        self._tmux("new-session", "-d", "-x", width, "-y", height, command)
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    @property
    def screen(self) -> str:
        """The screen, line by line."""
        return self._tmux("capture-pane", "-p")

    @property
    def colored_screen(self) -> str:
        """The screen with the escape sequences of its colors, blanks at the ends of lines included."""
        return self._tmux("capture-pane", "-p", "-e", "-N")

    @property
    def text(self) -> str:
        """The screen as one line without borders, so that wrapped sentences can be found."""
        return BORDERS.sub(" ", self.screen)

    def has_ended(self) -> bool:
        return self._tmux("display-message", "-p", "#{pane_dead}").strip() == "1"

    def press(self, *keys: str) -> None:
        """Presses keys by their tmux names, such as Enter, Escape, F9 and C-q."""
        for key in keys:
            if key == "Escape":
                # The next key too soon would be read as one with Alt.
                self.press_and_see(key)
            else:
                self._tmux("send-keys", key)

    def press_and_see(self, key: str) -> None:
        """Presses a key and waits until text or colors change.

        Text that is typed before a key has moved the focus goes into the former field. The first line does
        not count: it may have a clock.
        """
        before = self.colored_screen.partition("\n")[2]
        self._tmux("send-keys", key)
        until(lambda: self.colored_screen.partition("\n")[2] != before, f"{key} to have an effect")

    def type(self, text: str, *keys: str) -> None:
        """Types a text, and presses keys after it."""
        self._tmux("send-keys", "-l", text)
        self.press(*keys)

    def wait_for(self, *texts: str, without: Sequence[str] = ()) -> str:
        """Waits until the screen shows all texts, and none of `without`; returns its text."""
        seen = ""

        def is_shown() -> bool:
            nonlocal seen
            seen = self.text
            return all(each in seen for each in texts) and not any(each in seen for each in without)

        try:
            until(is_shown, "", TIMEOUT_SECONDS / 2)
        except Failed:
            raise Failed(
                f"the screen does not show {texts} without {without}:\n{self.screen}"
            ) from None
        return seen

    def _tmux(self, *arguments: str) -> str:
        ended = subprocess.run(
            ["tmux", "-u", "-S", self._socket, "-f", self._configuration, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert ended.returncode == 0, f"tmux {arguments}: {ended.stderr}"
        return ended.stdout
