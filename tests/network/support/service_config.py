"""The service config as it is shipped beside the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[3] / "proto" / "contact" / "v1" / "service_config.json"
TEXT = PATH.read_text()
SERVICE = "contact.v1.ContactService"


def parsed() -> dict[str, Any]:
    return json.loads(TEXT)


def channel_options() -> list[tuple[str, str | int]]:
    """What a client of several replicas sets."""
    return [
        ("grpc.service_config", TEXT),
        # A replica that was restarted is to be found again soon. Left to itself, the pause grows
        # to two minutes.
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.enable_http_proxy", 0),
    ]
