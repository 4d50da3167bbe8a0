"""The tool: which screen comes when."""

from __future__ import annotations

from typing import Any

from frame import Frame, Tool
from phone_call import PhoneCall
from screens.start import StartScreen
from screens.supervisor import SupervisorScreen
from texts import t


class CallCenter(Tool):
    """The agent's view at the bottom, the supervisor's view over it."""

    def on_mount(self) -> None:
        self._start = StartScreen()
        self.push_screen(self._start)
        if self.settings.supervisor:
            self.push_screen(SupervisorScreen())

    def show_supervisor(self) -> None:
        self.push_screen(SupervisorScreen())

    def end_call(self, frame: Frame[Any]) -> None:
        """Drops everything about the phone call. Orders without an outcome are mentioned once."""
        if (count := len(self.phone_call.open_orders)) and not self.phone_call.is_reminded:
            self.phone_call.is_reminded = True
            frame.say(t("start.unfinished", count=count), "warning")
            return
        while self.screen is not self._start:
            self.pop_screen()
        self.phone_call = PhoneCall()
        self._start.restart()
