"""The customer portal of examples/portal as a process, and what a person does in its pages."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, Response

from . import browser as web
from .polling import TIMEOUT_SECONDS, until
from .processes import environment, free_port
from .service import Service

PORTAL = Path(__file__).resolve().parents[2] / "examples" / "portal"
SAVE = ".contact-form > .actions button[value=save]"
CHECK = "button[value=check]"
# With PORTAL_REPORT_RPCS.
RPCS = "x-portal-rpcs"


class Portal:
    """One instance, connected to a service."""

    def __init__(self, service: Service, folder: Path, **settings: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.origin = f"http://{self.address}"
        self._log = folder / f"portal-{self.address.rpartition(':')[2]}.log"
        self._settings = {
            "PORTAL_ADDR": self.address,
            "CONTACT_SERVICE_URL": f"http://{service.grpc_address}",
            "PORTAL_KEY_FILE": str(service.folder / "data" / "development-jwt-key.pem"),
            "PORTAL_REPORT_RPCS": "yes",
            **settings,
        }
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Portal:
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                ["node", "--import", "tsx", "src/main.ts"],
                cwd=PORTAL,
                env=environment(**self._settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        until(self._is_ready, "the portal to be ready")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(TIMEOUT_SECONDS)
        finally:
            self._process.kill()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def log_in(self, customer_number: str) -> str:
        """Logs in without a browser, which is faster; returns the session's cookie."""
        with urllib.request.urlopen(f"{self.origin}/de/login") as answer:
            cookie = answer.headers["set-cookie"].partition(";")[0]
            [token] = re.findall(r'name="csrf" value="([^"]+)"', answer.read().decode())[:1]
        form = urllib.parse.urlencode({"csrf": token, "customerNumber": customer_number})
        request = urllib.request.Request(
            f"{self.origin}/de/login", form.encode(), {"cookie": cookie}
        )
        with urllib.request.build_opener(KeepRedirect).open(request) as answer:
            assert answer.status == 303
            return answer.headers["set-cookie"].partition(";")[0]

    def refusal(self) -> str:
        """Starts it with settings that it must refuse, and returns its error."""
        ended = subprocess.run(
            ["node", "--import", "tsx", "src/main.ts"],
            cwd=PORTAL,
            env=environment(**self._settings),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert ended.returncode == 1, ended.stdout + ended.stderr
        return ended.stderr.strip()

    def _is_ready(self) -> bool:
        assert self._process and self._process.poll() is None, f"ended at once:\n{self.log}"
        try:
            with urllib.request.urlopen(f"{self.origin}/healthz", timeout=5) as answer:
                return answer.status == 200
        except urllib.error.URLError:
            return False


class KeepRedirect(urllib.request.HTTPRedirectHandler):
    """Returns a redirect as the response that it is."""

    def http_error_303(self, request, response, *_: object):
        return response


@dataclass
class Visitor:
    """A customer in a browser of their own."""

    portal: Portal
    page: Page
    language: str
    problems: list[str]

    def open(self, path: str) -> Response:
        """Opens a page of the portal by its path after the language."""
        response = self.page.goto(f"{self.portal.origin}/{self.language}{path}")
        assert response
        return response

    def log_in(self, customer_number: str) -> None:
        self.open("/login")
        self.page.fill("#customerNumber", customer_number)
        self.press("#customerNumber + button")

    def press(self, selector: str) -> Response:
        """Presses a button or a link, and returns the response to it, before any redirect."""
        with self.page.expect_navigation() as navigation:
            self.page.click(selector)
        response = navigation.value
        assert response
        first = response.request.redirected_from
        answer = first.response() if first else None
        return answer or response

    def save(self) -> Response:
        return self.press(SAVE)

    def row(self, name: str):
        """The row of a contact in the table."""
        return self.page.locator("tbody tr", has=self.page.locator("th", has_text=name))

    def error_at(self, field: str) -> str:
        """Returns the error that is shown at an input, and connected to it; "" if there is none."""
        error = self.page.locator(f"#{field}-error")
        if not error.count():
            return ""
        described = self.page.get_attribute(f"#{field}", "aria-describedby") or ""
        assert f"{field}-error" in described.split(), f"{field} is not described by its error"
        return error.inner_text().strip()

    def flash(self) -> str:
        """Returns the message above the page."""
        return self.page.locator("main > .notice").first.inner_text()


@contextmanager
def visiting(
    browser: Browser, portal: Portal, customer_number: str, language: str = "de", **options
) -> Iterator[Visitor]:
    """Logs a customer in. The page must cause no error of a script or of the content policy."""
    with web.context_in(browser, language, **options) as context:
        name, _, value = portal.log_in(customer_number).partition("=")
        context.add_cookies(
            [
                {
                    "name": name,
                    "value": value,
                    "url": portal.origin,
                    "httpOnly": True,
                    "sameSite": "Lax",
                }
            ]
        )
        page, problems = context.new_page(), []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: note_problem(problems, message))
        visitor = Visitor(portal, page, language, problems)
        visitor.open("/contacts")
        yield visitor
        assert problems == []


def note_problem(problems: list[str], message) -> None:
    # Chromium logs every response of 400 and above.
    if message.type == "error" and "Failed to load resource" not in message.text:
        problems.append(message.text)


def rpcs(response: Response) -> list[str]:
    """Returns the names of the RPCs that the portal sent for a response."""
    return [name for name in response.headers[RPCS].split(",") if name]


def violations_of_axe(page: Page, *rules: str) -> list[str]:
    """Runs rules of axe-core, by default all, and returns their findings."""
    # Through the debugger: the page's policy forbids inline scripts.
    source = (PORTAL / "node_modules" / "axe-core" / "axe.min.js").read_text()
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": source})
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    run = f"axe.run(document, {json.dumps(options)}).then(r => JSON.stringify(r.violations))"
    answer = session.send(
        "Runtime.evaluate",
        {"expression": run, "awaitPromise": True, "returnByValue": True},
    )
    session.detach()
    found = json.loads(answer["result"]["value"])
    return [f"{each['id']}: {node['html'][:120]}" for each in found for node in each["nodes"]]


def screenshot(page: Page, name: str) -> None:
    """Takes a screenshot at every width; nothing may overflow the narrow one."""
    folder = os.environ.get("PORTAL_SCREENSHOTS")
    for width in web.WIDTHS:
        page.set_viewport_size({"width": width, "height": web.HEIGHT})
        if folder:
            page.screenshot(path=Path(folder) / f"{name}-{width}.png", full_page=True)
        needed = page.evaluate("document.documentElement.scrollWidth")
        assert needed <= width, f"{name} needs {needed} px where {width} px are"
