"""The one-time code that the portal shows, and its check in the phone call (rule 29)."""

from __future__ import annotations

import re

from contact.v1 import phone_pb2

from support.portal import visiting

FORM = "main form"
CODE = "#one-time-code"


def verdict(sample, contact, code: str) -> int:
    request = phone_pb2.CheckOneTimeCodeRequest(
        customer_number=sample.number,
        contact_id=contact.contact_id,
        code=code,
        call_id=f"call of {sample.number}",
    )
    return sample.contacts.call("CheckOneTimeCode", request).verdict


def show_code(visitor, contact) -> str:
    visitor.open("/one-time-code")
    visitor.page.select_option("#contactId", contact.contact_id)
    assert visitor.press(f"{FORM} button").status == 200
    return visitor.page.inner_text(CODE)


def test_shown_code_proves_the_caller_once(browser, portal, sample, language):
    with visiting(browser, portal, sample.number, language) as visitor:
        code = show_code(visitor, sample.carla)
        assert visitor.page.locator("main time").count() == 1
        assert sample.carla.display_name in visitor.page.inner_text("main")
        assert verdict(sample, sample.carla, code) == phone_pb2.PHONE_PASSWORD_VERDICT_MATCH
        again = verdict(sample, sample.carla, code)
        assert again == phone_pb2.PHONE_PASSWORD_VERDICT_NO_MATCH


def test_form_that_is_sent_twice_shows_the_same_code(visitor, sample):
    visitor.open("/one-time-code")
    page = visitor.page
    names = ("csrf", "requestId", "contactId")
    form = {name: page.input_value(f"{FORM} [name={name}]") for name in names}
    shown = [page.request.post(page.url, form=form).text() for _ in range(2)]
    codes = [re.findall(r'id="one-time-code"[^>]*>([0-9 ]+)<', text) for text in shown]
    assert codes[0] == codes[1] and len(codes[0]) == 1


def test_code_needs_the_token_of_the_session(visitor, sample):
    visitor.open("/one-time-code")
    form = {"contactId": sample.anna.contact_id, "csrf": "x"}
    assert visitor.page.request.post(visitor.page.url, form=form).status == 403


def test_contact_of_someone_else_has_no_code(visitor, sample):
    visitor.open("/one-time-code")
    unknown = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55"
    visitor.page.eval_on_selector("#contactId option", f"e => e.value = '{unknown}'")
    visitor.press(f"{FORM} button")
    assert visitor.page.locator("main > .notice.error").count() == 1
    assert visitor.page.locator(CODE).count() == 0
