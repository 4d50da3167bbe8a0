"""Rule 9: no program that opens a link confirms it; a click by a person does.

Every test ends with such a click, which shows that the link was valid all along.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from contact.v1 import contact_pb2
from support import browser as web
from support import scanner
from support.contacts import PENDING, unique_address
from support.database import Database
from support.mailbox import Mailbox
from support.service import Service


@dataclass
class TestedLink:
    """A link that is exposed to scanners."""

    service: Service
    contact: contact_pb2.Contact
    link: str
    traffic: web.Traffic

    @property
    def token(self) -> str:
        return self.link.rpartition("#")[2]

    @property
    def origin(self) -> str:
        return self.service.origin

    def assert_unconfirmed(self, after: str) -> None:
        contacts = self.service.contacts
        assert contacts.inspect(self.token).state == PENDING, f"not pending after {after}"
        contact = contacts.get(self.contact)
        assert not contact.email and contact.HasField("pending_email"), f"confirmed by {after}"

    def press(self, browser) -> None:
        """Confirms as a person does."""
        with web.context_in(browser) as context:
            page = context.new_page()
            complaints: list[str] = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda message: complaints.append(with_address(message)))
            self.traffic.watch(page)
            page.goto(self.link)
            assert web.settled(page) == "pending"
            web.press(page)
            web.wait_for_state(page, "confirmed")
            # Browsers request an icon on their own; its absence is no fault of the page.
            assert [text for text in complaints if "/favicon.ico" not in text] == []
        contact = self.service.contacts.get(self.contact)
        assert contact.email and not contact.HasField("pending_email")

    def assert_token_is_not_leaked(self) -> None:
        """Asserts that the token is in no URL, Referer or log, and that no request left the origin.
        """
        assert self.traffic.urls and self.traffic.headers
        for url in self.traffic.urls:
            assert url.startswith(f"{self.origin}/"), f"a request left the origin: {url}"
            assert self.token not in url.partition("#")[0], f"the token is in {url}"
        # The page's own address has no token either: a Referer omits the fragment.
        assert self.traffic.values_of("referer") == []
        assert not any(self.token in value for _, value in self.traffic.headers)
        log = self.service.log
        assert "mail sent" in log, "nothing was logged"
        assert self.token not in log and self.contact.pending_email.email not in log


def with_address(message) -> str:
    return f"{message.text} at {message.location['url']}"


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory):
    """One service for all tests here: they use different links."""
    folder = tmp_path_factory.mktemp("scanner")
    database = Database("sqlite", folder)
    with Mailbox() as mailbox:
        settings = {"SMTP_URL": mailbox.smtp_url, "RUST_LOG": "trace", "LOG_FORMAT": "json"}
        with Service(folder, database, **settings) as service:
            service.start()
            yield service, mailbox


@pytest.fixture
def tested_link(shared_service, browser):
    """A pending link. After the test, a person's click must confirm it."""
    service, mailbox = shared_service
    contacts, address = service.contacts, unique_address()
    contact = contacts.create_contact(contacts.create_customer(), email=address)
    tested_link = TestedLink(service, contact, mailbox.wait_for(address).link, web.Traffic())
    yield tested_link
    tested_link.press(browser)
    tested_link.assert_token_is_not_leaked()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_requests_for_the_link_and_its_references(tested_link, method):
    paths = scanner.paths_of(tested_link.origin, "/confirm")
    assert {"/confirm", "/confirm/inspect", "/confirm/press"} < set(paths)
    # Scanners that do not support fragments produce these from the link.
    paths += [f"/confirm%23{tested_link.token}", f"/confirm/{tested_link.token}"]
    paths += [f"{path}?token={tested_link.token}" for path in list(paths)]
    for path in paths:
        status, headers, _ = scanner.request(tested_link.origin, method, path)
        assert status < 500, f"{method} {path}: {status}"
        assert "access-control-allow-origin" not in headers
        tested_link.assert_unconfirmed(f"{method} {path}")


@pytest.mark.parametrize("content_type", scanner.FORM_TYPES)
def test_form_posts(tested_link, content_type):
    for path in ["/confirm", "/confirm/inspect", "/confirm/press", f"/confirm?token={tested_link.token}"]:
        sent_type, body = scanner.form_body(content_type, tested_link.token)
        for headers in [{}, {"Origin": tested_link.origin, "Sec_Fetch_Site": "same-origin"}]:
            headers["Content_Type"] = sent_type
            status, _, _ = scanner.request(tested_link.origin, "POST", path, body, **headers)
            assert 400 <= status < 500, f"{path}: {status}"
            tested_link.assert_unconfirmed(f"a {content_type} form to {path}")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://attacker.example", "Sec_Fetch_Site": "same-origin"},
        {"Content_Type": "application/json; charset=utf-8", "Sec_Fetch_Site": "cross-site"},
    ],
    ids=str,
)
def test_cross_site_requests(tested_link, headers):
    headers = {"Content_Type": "application/json"} | headers
    body = f'{{"token": "{tested_link.token}"}}'
    status, answer, _ = scanner.request(tested_link.origin, "POST", "/confirm/press", body, **headers)
    assert 400 <= status < 500, f"{status}"
    assert "access-control-allow-origin" not in answer
    tested_link.assert_unconfirmed(f"a request with {headers}")


def test_cross_site_pages(tested_link, browser):
    with scanner.another_site() as site, web.context_in(browser) as context:
        page = context.new_page()
        page.goto(site)
        answers = page.evaluate(scanner.CROSS_SITE_FETCHES, [tested_link.origin, tested_link.token])
        assert set(answers) <= {"refused", "opaque"}
        tested_link.assert_unconfirmed("fetches of another site")
        for path in ["/confirm", "/confirm/inspect", "/confirm/press"]:
            for content_type in scanner.FORM_TYPES:
                action, tab = tested_link.origin + path, context.new_page()
                tab.goto(site)
                with tab.expect_response(action) as response:
                    tab.evaluate(scanner.CROSS_SITE_FORM, [action, content_type, tested_link.token])
                assert response.value.status >= 400
                tested_link.assert_unconfirmed(f"another site's {content_type} form to {path}")
        page.evaluate(
            """link => new Promise(done => {
                const frame = document.createElement("iframe");
                Object.assign(frame, { src: link, onload: done });
                document.body.append(frame);
            })""",
            tested_link.link,
        )
        # An invisible frame could cover something that people click.
        assert page.frames[1].query_selector("#confirm") is None
        tested_link.assert_unconfirmed("a frame in another site")


@pytest.mark.parametrize("action", scanner.ACTIONS)
def test_scripted_browser(tested_link, browser, action):
    with web.context_in(browser) as context:
        page = context.new_page()
        tested_link.traffic.watch(page)
        page.clock.install()
        page.goto(tested_link.link)
        assert web.settled(page) == "pending"
        page.evaluate(scanner.ACTIONS[action])
        # Delayed effects must have happened as well.
        page.clock.fast_forward("01:00:00")
        page.wait_for_load_state("networkidle")
        tested_link.assert_unconfirmed(action)


def test_browser_that_explores_without_clicking(tested_link, browser):
    """Follows every link, waits, scrolls, hovers over everything, and types, without a click."""
    with web.context_in(browser) as context:
        page = context.new_page()
        tested_link.traffic.watch(page)
        page.clock.install()
        page.goto(tested_link.link)
        assert web.settled(page) == "pending"
        references = page.eval_on_selector_all(
            "[href], [src]", "found => found.map(element => element.href || element.src)"
        )
        page.hover("#confirm")
        page.mouse.wheel(0, 2000)
        for key in ["Tab", "Tab", "Tab", "a", "Escape", "ArrowDown", "PageDown", "F5"]:
            page.keyboard.press(key)
        page.clock.fast_forward("24:00:00")
        page.reload()
        page.go_back()
        for reference in references:
            page.goto(reference)
        page.wait_for_load_state("networkidle")
    tested_link.assert_unconfirmed("a look around")


def test_responses_restrict_browsers(tested_link):
    paths = scanner.paths_of(tested_link.origin, "/confirm")
    answers = {f"GET {path}": scanner.request(tested_link.origin, "GET", path) for path in paths}
    answers["GET /"] = scanner.request(tested_link.origin, "GET", "/")
    answers["POST /confirm/inspect"] = scanner.request(
        tested_link.origin,
        "POST",
        "/confirm/inspect",
        f'{{"token": "{tested_link.token}"}}',
        Content_Type="application/json",
    )
    for request, (_, headers, _) in answers.items():
        policy = {part.strip() for part in headers["content-security-policy"].split(";")}
        assert {"default-src 'none'", "frame-ancestors 'none'"} <= policy, request
        assert {"base-uri 'none'", "form-action 'none'"} <= policy, request
        assert "unsafe" not in headers["content-security-policy"], request
        assert headers["referrer-policy"] == "no-referrer", request
        assert headers["x-content-type-options"] == "nosniff", request
        assert "set-cookie" not in headers, request
    for request in ["GET /confirm", "POST /confirm/inspect"]:
        assert "no-store" in answers[request][1]["cache-control"], request
    assert answers["POST /confirm/inspect"][0] == 200
