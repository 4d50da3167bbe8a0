"""Describes the measured version and the machine."""

from __future__ import annotations

import datetime
import os
import platform
import re
from pathlib import Path

from .limits import version_of
from .processes import Tools
from .server import psql


def describe(tools: Tools, server_url: str, checkout: Path) -> dict[str, str]:
    """Describes everything that affects the comparability of figures."""
    kib = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    revision = version_of(["git", "rev-parse", "--short=12", "HEAD"], checkout)
    changed = version_of(["git", "status", "--porcelain", "--untracked-files=no"], checkout)
    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        "revision": f"{revision}, with changes" if changed else revision,
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "memory": f"{int(kib.group(1)) / 2**20:.1f} GiB" if kib else "unknown",
        "kernel": platform.release(),
        "huge pages": huge_pages(),
        "PostgreSQL": server(tools, server_url),
        "rustc": version_of(["rustc", "--version"], checkout).removeprefix("rustc "),
    }


def huge_pages() -> str:
    """Returns the huge pages in use or reserved; only the server's shared buffers use them."""
    text = Path("/proc/meminfo").read_text()
    total, free, promised = (
        int(match.group(1))
        if (match := re.search(rf"^HugePages_{name}:\s+(\d+)", text, re.M))
        else 0
        for name in ("Total", "Free", "Rsvd")
    )
    return f"{total - free + promised} in use"


def processor() -> str:
    """Returns the model. Virtual machines often have a name without a number; the family and the
    cache tell generations apart."""
    text = Path("/proc/cpuinfo").read_text()
    fields = dict(re.findall(r"^([\w ]+?)\s*:\s*(.+)$", text, re.MULTILINE))
    if "model name" not in fields:
        return platform.machine()
    details = [
        f"{label} {fields[name]}"
        for label, name in (("family", "cpu family"), ("model", "model"), ("stepping", "stepping"))
        if name in fields
    ]
    clock = f"{float(fields['cpu MHz']):,.0f} MHz" if "cpu MHz" in fields else ""
    cache = f"cache {fields['cache size']}" if "cache size" in fields else ""
    parts = [fields["model name"].strip(), " ".join(details), clock, cache]
    return ", ".join(part for part in parts if part)


def server(tools: Tools, url: str) -> str:
    """Returns the server's version and the settings that affect measurements."""
    names = ["server_version", "shared_buffers", "fsync", "synchronous_commit"]
    values = [psql(tools.folder, url, f"SHOW {name}") for name in names]
    settings = ", ".join(f"{n} {v}" for n, v in zip(names[1:], values[1:], strict=True))
    return f"{values[0]}, {settings}"
