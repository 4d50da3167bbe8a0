"""Fixtures: a database, and the metrics of a running service."""

from __future__ import annotations

import os
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from support.chart.metrics import Exposed, exposed
from support.chart.pods import Process
from support.polling import until
from support.processes import free_port


@pytest.fixture
def database_url() -> Iterator[str]:
    """An empty schema of the PostgreSQL that scripts/test started."""
    server = os.environ.get("TEST_POSTGRES_URL")
    assert server, "TEST_POSTGRES_URL is not set: run scripts/test --only chart"
    schema = f"chart_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        yield f"{server}?options[search_path]={schema}"
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture(scope="session")
def live_metrics(tmp_path_factory: pytest.TempPathFactory) -> Exposed:
    """The /metrics of a demo server before the first request."""
    folder: Path = tmp_path_factory.mktemp("demo")
    metrics = f"127.0.0.1:{free_port()}"
    environment = {
        "LISTEN_ADDR": f"127.0.0.1:{free_port()}",
        "HTTP_ADDR": f"127.0.0.1:{free_port()}",
        "METRICS_ADDR": metrics,
    }
    text = ""
    with Process(folder, ["serve", "--demo"], environment) as process:

        def is_scraped() -> bool:
            nonlocal text
            process.assert_runs()
            try:
                with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=2) as answer:
                    text = answer.read().decode()
            except OSError:
                return False
            return True

        until(is_scraped, "/metrics to answer", 20)
    return exposed(text)
