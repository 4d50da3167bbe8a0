"""The commands of a page, in its order."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```|`(apt install [^`\n]+)`", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A command of a page, and the JSON that the page shows after its block, if any."""

    page: str
    line: int
    text: str
    shown_json: str

    @property
    def name(self) -> str:
        """The command as one short line."""
        text = re.sub(r"\\?\s+", " ", re.sub(r"\s+# .*", "", self.text))
        return text if len(text) <= 70 else text[:69] + "…"


def commands(page: Path) -> Iterator[Command]:
    """Returns the commands of all shell blocks, and `apt install` within sentences."""
    text = page.read_text()
    blocks = list(BLOCK.finditer(text))
    for block, following in zip(blocks, [*blocks[1:], None]):
        first = text.count("\n", 0, block.start()) + 1
        if block[3]:
            yield Command(page.name, first, block[3], "")
        if block[1] != "sh":
            continue
        parts = list(complete_commands(block[2]))
        for offset, part in parts:
            is_last = (offset, part) == parts[-1]
            shown = following[2] if is_last and following and following[1] == "json" else ""
            yield Command(page.name, first + 1 + offset, part, shown)


def complete_commands(block: str) -> Iterator[tuple[int, str]]:
    """Splits a block where Bash would execute: returns line offsets and commands."""
    pending: list[str] = []
    for number, line in enumerate(block.splitlines()):
        pending.append(line)
        text = "\n".join(pending)
        if line.endswith("\\") or not is_complete(text):
            continue
        if text.strip() and not text.startswith("#"):
            yield number + 1 - len(pending), text
        pending = []
    if pending:
        raise ValueError(f"a block ends within a command: {pending[0]}")


def is_complete(text: str) -> bool:
    return (
        subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True).returncode == 0
    )
