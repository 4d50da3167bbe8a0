"""Sessions, tokens, content policy and escaping: customers are kept apart from each other."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from support.portal import KeepRedirect, Portal, rpcs, visiting
from support.processes import free_port

from sample import create_sample

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
ATTACK = "\"'><script>document.title='owned'</script><img src=x onerror=document.title='owned'>"


def send(url: str, form: dict | None = None, **headers: str):
    """Sends a request as a program does; returns status, headers and body."""
    body = urllib.parse.urlencode(form).encode() if form is not None else None
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named)
    try:
        with urllib.request.build_opener(KeepRedirect).open(request) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def cookie_of(visitor) -> str:
    [cookie] = visitor.page.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax"
    return f"{cookie['name']}={cookie['value']}"


def test_every_response_has_the_security_headers(portal, visitor):
    pages = ["/", "/de/login", "/de/contacts", "/de/review", "/nothing"]
    for path in [*pages, "/portal.css", "/portal.js"]:
        _, headers, _ = send(f"{portal.origin}{path}", cookie=cookie_of(visitor))
        assert headers["content-security-policy"] == POLICY, path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["x-frame-options"] == "DENY"
    assert visitor.open("/contacts").headers["cache-control"] == "no-store"


def test_no_page_is_shown_before_the_login(portal, sample):
    form = f"/contacts/{sample.anna.contact_id}/edit"
    for path in ["/contacts", "/invoices", "/customer", "/review", "/one-time-code", form]:
        status, headers, body = send(f"{portal.origin}/de{path}")
        assert (status, headers["location"], body) == (303, "/de/login", "")


def test_form_needs_the_token_of_its_session(browser, portal, sample, visitor):
    path = f"{portal.origin}/de/contacts/{sample.bernd.contact_id}/delete"
    cookie = cookie_of(visitor)
    token = visitor.page.input_value("form.account [name=csrf]")
    with visiting(browser, portal, sample.number) as other:
        foreign = other.page.input_value("form.account [name=csrf]")
    for form in [{}, {"csrf": ""}, {"csrf": foreign}, {"csrf": token[:-1] + "!"}]:
        assert send(path, form, cookie=cookie)[0] == 403
    # A form of another site is rejected even with the token.
    sent = send(path, {"csrf": token}, cookie=cookie, sec_fetch_site="cross-site")
    assert sent[0] == 403
    assert len(sample.all()) == 3
    assert send(path, {"csrf": token}, cookie=cookie)[0] == 303
    assert len(sample.all()) == 2


def test_login_gives_a_new_session(portal, visitor, sample):
    before = cookie_of(visitor)
    visitor.log_in(sample.number)
    assert visitor.row("Anna Schmidt").count() == 1
    assert cookie_of(visitor) != before
    # The earlier session and, after the logout, this one are worthless.
    assert send(f"{portal.origin}/de/contacts", cookie=before)[0] == 303
    current = cookie_of(visitor)
    visitor.press("form.account button")
    assert send(f"{portal.origin}/de/contacts", cookie=current)[0] == 303


class Recorder(grpc.GenericRpcHandler):
    """A service that records the metadata of requests and implements none of them."""

    def __init__(self) -> None:
        self.metadata: list[dict] = []

    def service(self, handler_call_details):
        self.metadata.append(dict(handler_call_details.invocation_metadata))
        return None


def test_token_is_scoped_to_the_customer_and_short_lived(
    browser, service, sample, tmp_path, language
):
    recorder, port = Recorder(), free_port()
    server = grpc.server(ThreadPoolExecutor(1), handlers=[recorder])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    with Portal(service, tmp_path, CONTACT_SERVICE_URL=f"http://127.0.0.1:{port}") as portal:
        with visiting(browser, portal, sample.number, language) as visitor:
            # The text of a library is not for people.
            assert visitor.open("/contacts").status == 500
            assert "method" not in visitor.page.inner_text("main").lower()
    server.stop(None)
    sent = recorder.metadata[-1]
    assert sent["accept-language"] == language
    payload = sent["authorization"].removeprefix("Bearer ").split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["customer_number"] == sample.number
    assert claims["exp"] - claims["iat"] <= 300
    assert set(claims["scope"].split()) == {
        "contacts.read",
        "contacts.write",
        "customers.read",
        "customers.write",
        "recipients.resolve",
        "order_types.read",
    }


def test_customer_reaches_own_contacts_only(contacts, mailbox, visitor, sample):
    foreign = create_sample(contacts, mailbox)
    for page in ["edit", "delete"]:
        assert visitor.open(f"/contacts/{foreign.anna.contact_id}/{page}").status == 404
        assert "Anna" not in visitor.page.content()


def test_values_are_escaped_on_every_screen(visitor, sample):
    sample.update(
        sample.bernd,
        ["display_name", "position", "restrictions.note"],
        display_name=ATTACK,
        position=ATTACK[:100],
        restrictions={"note": f"</textarea>{ATTACK}"},
    )
    page = visitor.page
    bernd = f"/contacts/{sample.bernd.contact_id}"
    # The review names contacts of which it finds something.
    sample.contacts.change_email(sample.bernd, f"maier@{sample.domain}")
    screens = ["/contacts", "/invoices", "/customer", "/review", "/one-time-code"]
    for path in [*screens, f"{bernd}/edit", f"{bernd}/delete"]:
        visitor.open(path)
        assert page.locator("img[src=x], main script").count() == 0, path
        assert page.title() != "owned"
    visitor.open(f"{bernd}/edit")
    assert page.input_value("#displayName") == ATTACK
    assert page.input_value("#note") == f"</textarea>{ATTACK}"
    # In an answer to a form, and in the message after it.
    page.fill("#newEmail", ATTACK)
    assert visitor.save().status == 422
    assert page.input_value("#newEmail") == ATTACK
    page.fill("#newEmail", "")
    page.check("[name=emailEdit][value=keep]")
    page.fill("#department", ATTACK[:90])
    visitor.save()
    assert ATTACK in visitor.flash()
    assert page.locator("img[src=x], main script").count() == 0


def test_log_contains_no_values(portal, visitor, sample):
    visitor.open(f"/contacts/{sample.carla.contact_id}/edit")
    page = visitor.page
    page.fill("#newPassword", "roter Dachs 7")
    page.fill("#phoneNumbers-1", "123")
    visitor.save()
    page.fill("#phoneNumbers-1", "")
    page.eval_on_selector("[name=base]", "e => e.value = '{\"roter Dachs\":'")
    assert visitor.save().status == 403
    assert "Dachs" not in portal.log and sample.number not in portal.log
    assert "eyJ" not in portal.log


def test_service_that_is_down_is_explained_to_people(browser, service, sample, tmp_path):
    with Portal(service, tmp_path, CONTACT_SERVICE_URL="http://127.0.0.1:9") as portal:
        with visiting(browser, portal, sample.number) as visitor:
            # A read is sent twice.
            response = visitor.open("/contacts")
            assert (response.status, rpcs(response)) == (503, ["ListContacts"] * 2)
            assert "nicht erreichbar" in visitor.page.inner_text("main")
            assert "ECONNREFUSED" not in visitor.page.content()


@pytest.mark.parametrize(
    "settings, text",
    [
        ({"NODE_ENV": "production"}, "NODE_ENV=production: the demo login accepts every visitor"),
        ({"PORTAL_ADDR": "0.0.0.0:3000"}, "PORTAL_ADDR: the demo login is for loopback only"),
        ({"PORTAL_ADDR": "3000"}, "PORTAL_ADDR: must be HOST:PORT"),
        ({"PORTAL_ORIGIN": "ftp://x"}, "PORTAL_ORIGIN: must be an http or https URL"),
        ({"PORTAL_KEY_FILE": "/nothing.pem"}, "PORTAL_KEY_FILE: /nothing.pem cannot be read"),
    ],
)
def test_wrong_setting_prevents_the_start(service, tmp_path, settings, text):
    refusal = Portal(service, tmp_path, **settings).refusal()
    assert refusal.startswith(f"portal: {text}") and "\n" not in refusal


def test_cookie_is_secure_with_https(service, tmp_path):
    with Portal(service, tmp_path, PORTAL_ORIGIN="https://kunden.hoster.example") as portal:
        _, headers, _ = send(f"{portal.origin}/de/login")
        assert headers["set-cookie"].startswith("__Host-portal-session=")
        assert "; Secure" in headers["set-cookie"]
        assert headers["strict-transport-security"]


def test_customer_number_that_is_unknown_is_no_login(browser, portal):
    with visiting(browser, portal, "K-0") as visitor:
        assert visitor.open("/contacts").status == 404
        assert visitor.page.locator("main h1").count() == 1
