"""PostGraphile, a generic API over the tables, under the load of wrk."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.processes import environment, free_port, last_lines

from .figures import Figure, RowFailed
from .processes import START_SECONDS, STOP_SECONDS, Tools, run_tool

HERE = Path(__file__).resolve().parent.parent / "peer"
WARM_UP = 5
# The columns that ResolveRecipients reads of a customer and its contacts.
QUERY = " ".join((HERE / "recipients.graphql").read_text().split())


class Peer:
    """A process of PostGraphile."""

    def __init__(self, tools: Tools, database_url: str) -> None:
        self._tools = tools
        self._port = free_port()
        self._url = database_url
        self._log = tools.folder / "peer.log"
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def describe(tools: Tools) -> str:
        if not tools.peer:
            raise RowFailed("PostGraphile is not installed")
        package = json.loads((tools.peer / "postgraphile" / "package.json").read_text())
        return f"PostGraphile {package['version']}"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}/graphql"

    def __enter__(self) -> Self:
        assert self._tools.peer
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "node",
                    self._tools.peer / "postgraphile" / "cli.js",
                    f"--connection={self._url}",
                    "--schema=public",
                    "--host=127.0.0.1",
                    f"--port={self._port}",
                ],
                cwd=self._tools.folder,
                env=environment(NODE_ENV="production"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def rate(self, customers: int, in_flight: int, seconds: int) -> Figure:
        """Measures the requests per second, after as many seconds, and at least five, in which V8
        compiles."""
        for duration in (max(seconds, WARM_UP), seconds):
            output = run_tool(
                [
                    "wrk",
                    "--threads=1",
                    f"--connections={in_flight}",
                    f"--duration={duration}s",
                    "--timeout=30s",
                    f"--script={HERE / 'recipients.lua'}",
                    self.endpoint,
                    "--",
                    str(customers),
                    QUERY,
                ],
                self._tools.folder,
            )
        figures = json.loads(output.splitlines()[-1])
        if figures["failed"] or not figures["requests_per_second"]:
            raise RowFailed(f"wrk: {figures['failed']} requests failed; {self._last_words()}")
        return Figure(figures["requests_per_second"], figures)

    def _wait_until_ready(self) -> None:
        """Waits for a response with the rows of the first customer."""
        assert self._process
        reason = "no response"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                answer = self._query("C-00000000")
            except (urllib.error.URLError, OSError) as error:
                reason = str(error)
                time.sleep(0.2)
                continue
            customer = (answer.get("data") or {}).get("customerByCustomerNumber")
            if not customer or not customer["contactsByCustomerNumber"]["nodes"]:
                raise RowFailed(f"PostGraphile answered {json.dumps(answer)[:300]}")
            return
        raise RowFailed(f"PostGraphile is not ready: {reason}; {self._last_words()}")

    def _query(self, number: str) -> dict[str, Any]:
        body = json.dumps({"query": QUERY, "variables": {"number": number}})
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.endpoint, body.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            raise RowFailed(f"PostGraphile: {error.read()[:300]!r}") from None
        return answer

    def _last_words(self) -> str:
        return last_lines(self._log.read_text(errors="replace"))
