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
        """Presses keys by their tmux names, such as Enter, F9 and C-q; for Escape see `leave`."""
        self._tmux("send-keys", *keys)

    def leave(self, shown: str) -> None:
        """Presses Escape, and waits until a text is gone.

        The next key too soon would be read as one with Alt.
        """
        assert shown in self.text, f"the screen does not show {shown!r}:\n{self.screen}"
        self.press("Escape")
        until(lambda: shown not in self.text, f"{shown!r} to disappear")

    def move_focus(self, key: str) -> None:
        """Presses a key that moves the focus, and waits until the colors show it.

        Text that is typed before that goes into the former field.
        """
        before = self._settled()
        self.press(key)
        until(lambda: self._colors() != before, f"{key} to move the focus")

    def _settled(self) -> str:
        """Returns the colored screen once it stays the same."""
        latest = [""]

        def is_same() -> bool:
            latest.append(self._colors())
            return latest[-1] == latest[-2]

        until(is_same, "the screen to settle", pause=0.1)
        return latest[-1]

    def _colors(self) -> str:
        # The first line may have a clock.
        return self.colored_screen.partition("\n")[2]

    def type(self, text: str, *keys: str) -> None:
        """Types a text, and presses keys after it."""
        self._tmux("send-keys", "-l", text)
        if keys:
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
