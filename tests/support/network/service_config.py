"""The service config that is shipped with the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).resolve().parents[3] / "proto" / "contact" / "v1" / "service_config.json"
TEXT = PATH.read_text()
SERVICE = "contact.v1.ContactService"


def parsed() -> dict[str, Any]:
    return json.loads(TEXT)


def channel_options() -> list[tuple[str, str | int]]:
    """Returns the options of a client with several instances."""
    return [
        ("grpc.service_config", TEXT),
        # A restarted instance must be found again soon. The default backoff grows to two minutes.
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.enable_http_proxy", 0),
    ]
