"""Programs, their environment and their ports."""

from __future__ import annotations

import os
import random
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_returned_ports: set[int] = set()


class Failed(AssertionError):
    """A program or a check failed."""


def free_port() -> int:
    """Returns a free loopback port below the ephemeral range, a different one at every call."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as candidate:
            # As servers do: a port with lingering connections counts as free.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _returned_ports:
            _returned_ports.add(port)
            return port
    raise Failed("found no free port on 127.0.0.1")


def environment(**settings: str) -> dict[str, str]:
    """Returns an environment with only the variables that every program needs."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, **settings}


def run(
    arguments: Sequence[str | Path],
    folder: Path,
    settings: Mapping[str, str],
    seconds: float,
    **options: Any,
) -> str:
    """Runs a program that must succeed, in an environment of `settings`; returns its output."""
    name = Path(arguments[0]).name
    try:
        ended = subprocess.run(
            arguments,
            cwd=folder,
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            **options,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{name} did not end within {seconds:g} s") from None
    if ended.returncode != 0:
        output = last_lines(ended.stdout + ended.stderr)
        raise Failed(f"{name} ended with {ended.returncode}: {output}")
    return ended.stdout.strip()


def last_lines(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-5:]) or "no output"
