"""Reads compose.yaml for image_trial.sh.

Usage: compose.py FILE environment SERVICE     (NAME=VALUE, one per line)
       compose.py FILE script SERVICE          (the script that the service runs)
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

path, what, name = sys.argv[1:]
service = yaml.safe_load(Path(path).read_text())["services"][name]
if what == "environment":
    for variable, value in service["environment"].items():
        print(f"{variable}={value}")
elif what == "script":
    (script,) = service["command"]
    # The script contains each dollar sign twice.
    print(script.replace("$$", "$"), end="")
else:
    sys.exit(f"unknown request {what!r}")
