"""Rule 9: opening a link confirms nothing, whatever programs do to it; the press of a person does.

Every test ends with such a press, which shows that the link would have confirmed all along.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from contact.v1 import contact_pb2
from harness import browser as web
from harness import scanner
from harness.contacts import PENDING, unique_address
from harness.database import Database
from harness.mailbox import Mailbox
from harness.service import Service


@dataclass
class Bait:
    """A link that scanners are let loose upon."""

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
            # A browser asks for an icon by itself; that there is none is no fault of the page.
            assert [text for text in complaints if "/favicon.ico" not in text] == []
        contact = self.service.contacts.get(self.contact)
        assert contact.email and not contact.HasField("pending_email")

    def assert_kept_to_itself(self) -> None:
        """The token is in no URL, no Referer and no log, and no request went elsewhere."""
        assert self.traffic.urls and self.traffic.headers
        for url in self.traffic.urls:
            assert url.startswith(f"{self.origin}/"), f"a request left the origin: {url}"
            assert self.token not in url.partition("#")[0], f"the token is in {url}"
        # The page's own address has no token either: a Referer leaves the fragment away.
        assert self.traffic.values_of("referer") == []
        assert not any(self.token in value for _, value in self.traffic.headers)
        log = self.service.log
        assert "mail sent" in log, "nothing was logged"
        assert self.token not in log and self.contact.pending_email.email not in log


def with_address(message) -> str:
    return f"{message.text} at {message.location['url']}"


@pytest.fixture(scope="module")
def talkative(tmp_path_factory):
    """One service for all tests here: they use links of their own."""
    folder = tmp_path_factory.mktemp("scanner")
    database = Database("sqlite", folder)
    with Mailbox() as mailbox:
        settings = {"SMTP_URL": mailbox.smtp_url, "RUST_LOG": "trace", "LOG_FORMAT": "json"}
        with Service(folder, database, **settings) as service:
            service.start()
            yield service, mailbox


@pytest.fixture
def bait(talkative, browser):
    """A pending link. After the test, a person's press has to confirm it."""
    service, mailbox = talkative
    contacts, address = service.contacts, unique_address()
    contact = contacts.create_contact(contacts.create_customer(), email=address)
    bait = Bait(service, contact, mailbox.wait_for(address).link, web.Traffic())
    yield bait
    bait.press(browser)
    bait.assert_kept_to_itself()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_requests_for_the_link_and_all_it_refers_to(bait, method):
    paths = scanner.paths_of(bait.origin, "/confirm")
    assert {"/confirm", "/confirm/inspect", "/confirm/press"} < set(paths)
    # Scanners that know nothing of fragments make these of the link.
    paths += [f"/confirm%23{bait.token}", f"/confirm/{bait.token}"]
    paths += [f"{path}?token={bait.token}" for path in list(paths)]
    for path in paths:
        status, headers, _ = scanner.request(bait.origin, method, path)
        assert status < 500, f"{method} {path}: {status}"
        assert "access-control-allow-origin" not in headers
        bait.assert_unconfirmed(f"{method} {path}")


@pytest.mark.parametrize("content_type", scanner.FORM_TYPES)
def test_posts_of_forms(bait, content_type):
    for path in ["/confirm", "/confirm/inspect", "/confirm/press", f"/confirm?token={bait.token}"]:
        sent_type, body = scanner.form_body(content_type, bait.token)
        for headers in [{}, {"Origin": bait.origin, "Sec_Fetch_Site": "same-origin"}]:
            headers["Content_Type"] = sent_type
            status, _, _ = scanner.request(bait.origin, "POST", path, body, **headers)
            assert 400 <= status < 500, f"{path}: {status}"
            bait.assert_unconfirmed(f"a {content_type} form to {path}")


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
def test_requests_that_come_from_other_sites(bait, headers):
    headers = {"Content_Type": "application/json"} | headers
    body = f'{{"token": "{bait.token}"}}'
    status, answer, _ = scanner.request(bait.origin, "POST", "/confirm/press", body, **headers)
    assert 400 <= status < 500, f"{status}"
    assert "access-control-allow-origin" not in answer
    bait.assert_unconfirmed(f"a request with {headers}")


def test_pages_of_other_sites(bait, browser):
    with scanner.another_site() as site, web.context_in(browser) as context:
        page = context.new_page()
        page.goto(site)
        answers = page.evaluate(scanner.CROSS_SITE_FETCHES, [bait.origin, bait.token])
        assert set(answers) <= {"refused", "opaque"}
        bait.assert_unconfirmed("fetches of another site")
        for path in ["/confirm", "/confirm/inspect", "/confirm/press"]:
            for content_type in scanner.FORM_TYPES:
                action, tab = bait.origin + path, context.new_page()
                tab.goto(site)
                with tab.expect_response(action) as response:
                    tab.evaluate(scanner.CROSS_SITE_FORM, [action, content_type, bait.token])
                assert response.value.status >= 400
                bait.assert_unconfirmed(f"another site's {content_type} form to {path}")
        page.evaluate(
            """link => new Promise(done => {
                const frame = document.createElement("iframe");
                Object.assign(frame, { src: link, onload: done });
                document.body.append(frame);
            })""",
            bait.link,
        )
        # A frame could be laid invisibly over something that people press.
        assert page.frames[1].query_selector("#confirm") is None
        bait.assert_unconfirmed("a frame in another site")


@pytest.mark.parametrize("action", scanner.ACTIONS)
def test_a_scripted_browser(bait, browser, action):
    with web.context_in(browser) as context:
        page = context.new_page()
        bait.traffic.watch(page)
        page.clock.install()
        page.goto(bait.link)
        assert web.settled(page) == "pending"
        page.evaluate(scanner.ACTIONS[action])
        # What waits for a while is to happen, too.
        page.clock.fast_forward("01:00:00")
        page.wait_for_load_state("networkidle")
        bait.assert_unconfirmed(action)


def test_a_browser_that_looks_around(bait, browser):
    """Follows every link, waits, scrolls, points at everything, and types; it presses nothing."""
    with web.context_in(browser) as context:
        page = context.new_page()
        bait.traffic.watch(page)
        page.clock.install()
        page.goto(bait.link)
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
    bait.assert_unconfirmed("a look around")


def test_answers_say_what_browsers_may_not_do(bait):
    paths = scanner.paths_of(bait.origin, "/confirm")
    answers = {f"GET {path}": scanner.request(bait.origin, "GET", path) for path in paths}
    answers["GET /"] = scanner.request(bait.origin, "GET", "/")
    answers["POST /confirm/inspect"] = scanner.request(
        bait.origin,
        "POST",
        "/confirm/inspect",
        f'{{"token": "{bait.token}"}}',
        Content_Type="application/json",
    )
    for asked, (_, headers, _) in answers.items():
        policy = {part.strip() for part in headers["content-security-policy"].split(";")}
        assert {"default-src 'none'", "frame-ancestors 'none'"} <= policy, asked
        assert {"base-uri 'none'", "form-action 'none'"} <= policy, asked
        assert "unsafe" not in headers["content-security-policy"], asked
        assert headers["referrer-policy"] == "no-referrer", asked
        assert headers["x-content-type-options"] == "nosniff", asked
        assert "set-cookie" not in headers, asked
    for asked in ["GET /confirm", "POST /confirm/inspect"]:
        assert "no-store" in answers[asked][1]["cache-control"], asked
    assert answers["POST /confirm/inspect"][0] == 200
