"""What a newcomer does with each command of a page."""

from __future__ import annotations

import http.cookiejar
import json
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence

from support.polling import until
from support.processes import Failed

from .machine import Machine
from .page import Command
from .terminal import Terminal

# A cold build of all crates on a busy machine.
BUILD_SECONDS = 3600.0
SECONDS = 600.0
PORTS = (50051, 8080, 9090, 3000)
PORTAL = "http://127.0.0.1:3000"
CTRL_C = "\x03"
CTRL_Q = "\x11"
# The pages link to how these are installed.
OPTIONAL = re.compile(r"^(buf|grpcurl|docker) ")
# Requests by the function or the command `call`, and variables for the next ones.
REQUEST = re.compile(r"^(call |cargo run -q -- call |\w+=\$\()")
REJECTED = re.compile(r'^\{"code":"[a-z_]+",', re.MULTILINE)


class Day:
    """The terminals of a newcomer, and the service in the first of them."""

    def __init__(self, machine: Machine) -> None:
        for port in PORTS:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    raise Failed(f"port {port} of 127.0.0.1 is in use; the pages need it")
        self._machine = machine
        self._begin = time.monotonic()
        self._terminal = Terminal(machine.shell())
        self._service: Terminal | None = None
        self.first_response = ""

    @property
    def output(self) -> str:
        """The last lines of all terminals."""
        terminals = [each for each in (self._service, self._terminal) if each]
        return "\n".join("\n".join(each.output.splitlines()[-20:]) for each in terminals)

    def do(self, command: Command) -> str:
        """Executes a command of a page; returns its result in a few words."""
        return next(act for pattern, act in ACTIONS if re.search(pattern, command.text))(
            self, command
        )

    def follow_guide(self, start: Sequence[Command], guide: Sequence[Command]) -> str:
        """Sends all requests of a guide to a service with the sample customers only."""
        self._terminal.run("rm -rf data", SECONDS)
        for command in start:
            self.do(command)
        requests = [command for command in guide if REQUEST.search(command.text)]
        for command in requests:
            try:
                self._request(command)
            except Failed as failed:
                raise Failed(f"{command.page}:{command.line}: {failed}") from None
        self.stop()
        return f"{len(requests)} requests"

    def _request(self, command: Command) -> None:
        self.succeed(command)
        if found := re.match(r"(\w+)=", command.text):
            if self._terminal.run(f'[[ -n "${found[1]}" && "${found[1]}" != null ]]', SECONDS) != 0:
                raise Failed(f"{found[1]} is empty")
        elif REJECTED.search(self._terminal.output):
            raise Failed(f"rejected: {self._terminal.output}")

    def stop(self) -> str:
        """Stops the service, which the page started."""
        if not self._service:
            raise Failed("the page starts no service")
        self._service.press(CTRL_C)
        status = self._service.finish(SECONDS)
        if status != 0:
            raise Failed(f"the service ended with {status}")
        return "stopped, exit code 0"

    def begin_again(self) -> None:
        """Closes all terminals, and opens one."""
        if self._service:
            self._service.close()
        self._terminal.close()
        self._service, self._terminal = None, Terminal(self._machine.shell())

    def install(self, command: Command) -> str:
        output = self._machine.install(command.text)
        found = re.search(r"(\d+) newly installed", output)
        return f"{found[1]} packages as root" if found else "as root"

    def install_rust(self, command: Command) -> str:
        return "not run: --toolchain" if self._machine.has_toolchain else self.succeed(command)

    def serve(self, command: Command) -> str:
        if self._service:
            return self._serve_another(command)
        self._service, self._terminal = self._terminal, Terminal(self._machine.shell())
        self._service.type(command.text)
        self._service.wait_for("E-mails are written to", BUILD_SECONDS)
        found = re.search(r"^export CONTACT_SERVICE_TOKEN=\S+", self._service.output, re.MULTILINE)
        if not found:
            raise Failed("the service printed no token")
        self._terminal.run(found[0], SECONDS)
        if self._terminal.run("cargo run -q -- serve --demo", SECONDS) != 1:
            raise Failed("a second service started on the same port")
        expected = "contact-service: LISTEN_ADDR: cannot listen on 127.0.0.1:50051: address in use"
        if expected not in self._terminal.output:
            raise Failed(f"a second service does not say: {expected}")
        return "token printed; a second start names the port in use"

    def _serve_another(self, command: Command) -> str:
        self._terminal.type(command.text)
        self._terminal.wait_for("E-mails are written to", SECONDS)
        self._terminal.press(CTRL_C)
        self._terminal.finish(SECONDS)
        return "started next to the first, stopped"

    def open_portal(self, command: Command) -> str:
        self._terminal.type(command.text)
        self._terminal.wait_for(PORTAL, SECONDS)
        title = log_in("K-1001")
        self._terminal.press(CTRL_C)
        self._terminal.finish(SECONDS)
        return f"logged in: {title}; stopped"

    def take_phone_call(self, command: Command) -> str:
        self._terminal.type(command.text)
        shown = self._terminal.wait_for("K-1001", SECONDS)[0]
        self._terminal.press(CTRL_Q)
        self._terminal.finish(SECONDS)
        return f"the screen shows {shown}; closed"

    def test(self, command: Command) -> str:
        """Without the tools of the tests, and without the right to install them."""
        terminal = Terminal(self._machine.shell())
        status = terminal.run(command.text, SECONDS)
        last = terminal.output.strip().splitlines()[-1:]
        terminal.close()
        if status != 1 or not re.search("missing.*; install", "".join(last)):
            raise Failed(f"does not name a missing tool: {terminal.output}")
        return f"not run here: {last[0]}"

    def try_optional(self, command: Command) -> str:
        program = command.text.split()[0]
        if self._terminal.run(f"command -v {program}", SECONDS) == 0:
            return self.succeed(command)
        return f"not run: {program} is not installed"

    def succeed(self, command: Command) -> str:
        status = self._terminal.run(command.text, SECONDS)
        if status != 0:
            raise Failed(f"{command.name}: exit code {status}")
        if not command.shown_json:
            return "ok"
        compare(command.shown_json, self._terminal.output)
        self.first_response = self.first_response or f"{time.monotonic() - self._begin:.0f} s"
        return "the JSON of the page"


ACTIONS: list[tuple[str, Callable[[Day, Command], str]]] = [
    (r"^apt install ", Day.install),
    (r"sh\.rustup\.rs", Day.install_rust),
    (r"serve --demo", Day.serve),
    (r"^npm .*portal start", Day.open_portal),
    (r"^python3 examples/call_center", Day.take_phone_call),
    (r"^\./scripts/test", Day.test),
    (OPTIONAL.pattern, Day.try_optional),
    ("", Day.succeed),
]


def compare(shown: str, output: str) -> None:
    """Compares a response with the JSON of a page, whose ids end with an ellipsis."""
    start = output.find("{")
    try:
        actual = json.loads(output[start:])
    except ValueError:
        raise Failed(f"the response is not JSON: {output}") from None
    if not matches(json.loads(shown), actual):
        raise Failed(f"the page shows another response than: {json.dumps(actual, indent=2)}")


def matches(shown: object, actual: object) -> bool:
    if isinstance(shown, dict) and isinstance(actual, dict):
        return shown.keys() == actual.keys() and all(
            matches(shown[key], actual[key]) for key in shown
        )
    if isinstance(shown, list) and isinstance(actual, list):
        return len(shown) == len(actual) and all(map(matches, shown, actual))
    is_id = isinstance(shown, str) and shown.endswith("…")
    return isinstance(actual, str) if is_id else shown == actual


def log_in(customer: str) -> str:
    """Logs in to the portal; returns the title of the customer's page."""
    jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)

    def read(path: str, form: dict[str, str] | None = None) -> str:
        data = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(f"{PORTAL}{path}", data, {"Origin": PORTAL})
        try:
            with browser.open(request, timeout=30) as response:
                return str(response.read().decode())
        except OSError as error:
            raise Failed(f"portal: {path}: {error}") from None

    page = until(lambda: read("/en/login"), "the portal")
    token = re.search(r'name="csrf" value="([^"]+)"', page)
    page = read("/en/login", {"csrf": token[1] if token else "", "customerNumber": customer})
    title = re.search(r"<title>(.*?)</title>", page)
    if not title or "Anna Schmidt" not in page:
        raise Failed(f"the portal does not show the contacts of {customer}: {page[:2000]}")
    return title[1]
