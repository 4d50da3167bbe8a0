"""A run of a program of proofs: its folder, its exit code and its logs."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from support.processes import Failed


def run_in_folder(name: str, play: Callable[[Path], int], kept: Path | None) -> int:
    """Runs `play`, which returns the number of failed proofs, in a temporary folder.

    Returns the exit code. Copies all logs to the folder `kept`, if it is given.
    """
    # So that all started processes are terminated on exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix=f"contact-{name}.") as temporary:
        folder = Path(temporary)
        try:
            # Other users than the one who runs this need access.
            folder.chmod(0o755)
            return 1 if play(folder) else 0
        except Failed as failed:
            print(f"{name}: {failed}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            if kept:
                keep_logs(folder, kept)


def keep_logs(folder: Path, kept: Path) -> None:
    for log in folder.rglob("*.log"):
        target = kept / log.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, target)
