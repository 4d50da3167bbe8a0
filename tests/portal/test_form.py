"""Every error of the form, at its field, in both languages; a rejected save stores nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable

import grpc
import pytest
from contact.v1 import contact_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2, status_pb2
from playwright.sync_api import Page

from support.contacts import Contacts, unique_address
from support.database import Database
from support.portal import Portal, rpcs, visiting
from support.service import Service

from sample import ACCOUNTING, STANDARD, TECHNICAL, Sample

DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True)
class Case:
    """An error: its input, where it is shown, and the request that is rejected with it."""

    shown_at: str
    type: Callable[[Page], object]
    paths: list[str] = field(default_factory=list)
    values: dict = field(default_factory=dict)
    changes: dict = field(default_factory=dict)
    contact: str = "anna"

    def request(self, sample: Sample) -> contact_pb2.UpdateContactRequest:
        contact = contact_pb2.Contact(
            customer_number=sample.number,
            contact_id=getattr(sample, self.contact).contact_id,
            **self.values,
        )
        return contact_pb2.UpdateContactRequest(
            contact=contact, update_mask=FieldMask(paths=self.paths), **self.changes
        )


def fill(name: str, text: str) -> Callable[[Page], object]:
    return lambda page: page.fill(f"#{name}", text)


def tamper(selector: str, value: str) -> Callable[[Page], object]:
    """Sends a value that the form does not offer."""
    script = "(e, v) => { e.value = v; e.checked = true; e.selected = true }"
    return lambda page: page.eval_on_selector(selector, script, value)


def lose_standard(page: Page) -> None:
    page.check("input[name=types][value=TECHNICAL]")
    page.uncheck("input[name=types][value=STANDARD]")
    page.uncheck("#invoiceEmail")


def text(shown_at: str, path: str, length: int, /, **values) -> Case:
    return Case(shown_at, fill(shown_at, "x" * length), [path], values)


LISTS = "restrictions.allowed_order_types", "restrictions.denied_order_types"
CASES = {
    "no type": Case("types", lambda page: page.uncheck("[value=STANDARD]"), ["types"]),
    "unknown type": Case(
        "types", tamper("[value=OTHER]", "KING"), ["types"], {"types": [STANDARD, 0]}
    ),
    "last standard contact": Case(
        "types",
        lose_standard,
        ["types", "invoice_email_enabled"],
        {"types": [TECHNICAL], "invoice_email_enabled": False},
    ),
    "title": text("title", "name.title", 41, name={"title": "x" * 41}),
    "given name": text("givenName", "name.given_name", 71, name={"given_name": "x" * 71}),
    "family name": text("familyName", "name.family_name", 81, name={"family_name": "x" * 81}),
    "display name": text("displayName", "display_name", 201, display_name="x" * 201),
    "position": text("position", "position", 101, position="x" * 101),
    "department": text("department", "department", 101, department="x" * 101),
    "note": text("note", "restrictions.note", 1001, restrictions={"note": "x" * 1001}),
    "locale": Case("locale", tamper("#locale :checked", "fr"), ["locale"], {"locale": "fr"}),
    "phone number": Case(
        "phoneNumbers-1",
        fill("phoneNumbers-1", "123"),
        ["phone_numbers"],
        {"phone_numbers": ["+497211234561", "123"]},
    ),
    "allowed order type": Case(
        "allowedOrderTypes",
        tamper("[name=allowedOrderTypes]", "nonsense"),
        [LISTS[0]],
        {"restrictions": {"allowed_order_types": ["nonsense"]}},
    ),
    "denied order type": Case(
        "deniedOrderTypes",
        tamper("[name=deniedOrderTypes]", "no code"),
        [LISTS[1]],
        {"restrictions": {"denied_order_types": ["no code"]}},
    ),
    "address": Case(
        "newEmail", fill("newEmail", "anna@"), changes={"email_change": {"set_email": "anna@"}}
    ),
    "short phone password": Case(
        "newPassword",
        fill("newPassword", "dachs"),
        changes={"phone_password_change": {"new_phone_password": "dachs"}},
    ),
    "name as phone password": Case(
        "newPassword",
        fill("newPassword", "Anna Schmidt"),
        changes={"phone_password_change": {"new_phone_password": "Anna Schmidt"}},
    ),
    "invoice e-mail by type": Case(
        "invoiceEmail",
        lambda page: page.check("#invoiceEmail"),
        ["invoice_email_enabled"],
        {"invoice_email_enabled": True},
        contact="carla",
    ),
    "invoice e-mail without address": Case(
        "invoiceEmail",
        lambda page: page.check("[name=emailEdit][value=remove]"),
        changes={"email_change": {"remove_email": True}},
    ),
}


def rejection(contacts: Contacts, request, language: str) -> list[str]:
    """Returns the texts for people with which the service itself rejects a request."""
    method = type(request).__name__.removesuffix("Request")
    metadata = [*contacts.metadata, ("accept-language", language)]
    with pytest.raises(grpc.RpcError) as rejected:
        getattr(contacts.stub, method)(request, metadata=metadata)
    trailers = dict(rejected.value.trailing_metadata())
    message, violations = rejected.value.details(), []
    for detail in status_pb2.Status.FromString(trailers[DETAILS]).details:
        localized, bad = error_details_pb2.LocalizedMessage(), error_details_pb2.BadRequest()
        if detail.Unpack(localized):
            message = localized.message
        if detail.Unpack(bad):
            violations = [
                each.localized_message.message or each.description
                for each in bad.field_violations
            ]
    return violations or [message]


@pytest.mark.parametrize("name", CASES)
def test_error_is_shown_at_its_field(visitors, unchanged_sample, language, name):
    case, sample, visitor = CASES[name], unchanged_sample, visitors[language]
    page, before = visitor.page, sample.all()
    visitor.open(f"/contacts/{getattr(sample, case.contact).contact_id}/edit")
    case.type(page)
    response = visitor.save()
    assert (response.status, rpcs(response)) == (422, ["UpdateContact"])
    [expected] = rejection(sample.contacts, case.request(sample), language)
    assert visitor.error_at(case.shown_at) == expected
    # It is the only one, and the summary leads to it.
    assert page.locator(".field > .error").count() == 1
    assert page.get_attribute("#error-summary a", "href") == f"#{case.shown_at}"
    assert expected in page.inner_text("#error-summary")
    if page.locator(f"input#{case.shown_at}").count():
        assert page.get_attribute(f"#{case.shown_at}", "aria-invalid") == "true"
    assert sample.all() == before


def test_all_errors_come_at_once_and_nothing_is_stored(browser, portal, sample, mailbox, language):
    before, address = sample.all(), f"neu@{sample.domain}"
    with visiting(browser, portal, sample.number, language) as visitor:
        page = visitor.page
        visitor.open(f"/contacts/{sample.anna.contact_id}/edit")
        typed = {
            "position": "x" * 101,
            "phoneNumbers-1": "123",
            "newEmail": address,
            "newPassword": "dachs",
            "department": "Einkauf",
        }
        for name, value in typed.items():
            page.fill(f"#{name}", value)
        assert visitor.save().status == 422
        fields = ["position", "phoneNumbers-1", "newPassword"]
        assert all(visitor.error_at(name) for name in fields)
        assert page.locator("#error-summary a").count() == len(fields)
        # Everything typed is still there, also what was valid.
        assert {name: page.input_value(f"#{name}") for name in typed} == typed
        assert sample.all() == before
        assert mailbox.mails_to(address) == []

        for name in fields:
            page.fill(f"#{name}", "")
        page.fill("#position", "Leiterin")
        page.check("[name=passwordEdit][value=keep]")
        visitor.save()
        assert mailbox.wait_for(address)
        assert sample.now(sample.anna).department == "Einkauf"


def test_errors_of_a_new_contact(browser, portal, contacts, language):
    number = contacts.create_customer()
    with visiting(browser, portal, number, language) as visitor:
        page = visitor.page
        visitor.open("/contacts/new")
        page.fill("#newEmail", "fritz")
        page.fill("#newPassword", "dachs")
        page.fill("#phoneNumbers-0", "123")
        assert visitor.save().status == 422
        request = contact_pb2.CreateContactRequest(
            customer_number=number,
            contact={"phone_numbers": ["123"]},
            email="fritz",
            phone_password="dachs",
        )
        fields = ["types", "displayName", "phoneNumbers-0", "newEmail", "newPassword"]
        shown = [visitor.error_at(name) for name in fields]
        assert sorted(shown) == sorted(rejection(contacts, request, language))

        # The first contact has to be STANDARD.
        page.fill("#displayName", "Fritz Lang")
        page.check("[value=ACCOUNTING]")
        for name in fields[2:]:
            page.fill(f"#{name}", "")
        assert visitor.save().status == 422
        request = contact_pb2.CreateContactRequest(
            customer_number=number, contact={"display_name": "Fritz", "types": [ACCOUNTING]}
        )
        [expected] = rejection(contacts, request, language)
        assert visitor.error_at("types") == expected

        page.check("[value=STANDARD]")
        visitor.save()
        assert visitor.row("Fritz Lang").count() == 1


def test_limit_of_confirmation_mails_is_shown_at_the_address(browser, portal, sample, language):
    address = unique_address()
    for _ in range(5):
        sample.contacts.change_email(sample.bernd, address)
        sample.contacts.cancel_change(sample.bernd)
    before = sample.all()
    with visiting(browser, portal, sample.number, language) as visitor:
        visitor.open(f"/contacts/{sample.carla.contact_id}/edit")
        visitor.page.fill("#newEmail", address)
        assert visitor.save().status == 422
        assert visitor.error_at("newEmail")
    assert sample.all() == before


def test_limit_of_contacts_is_shown_above_the_form(browser, portal, sample, language):
    for count in range(97):
        request = contact_pb2.CreateContactRequest(
            customer_number=sample.number,
            contact={"display_name": f"Kontakt {count}", "types": [TECHNICAL]},
        )
        sample.contacts.call("CreateContact", request)
    with visiting(browser, portal, sample.number, language) as visitor:
        assert visitor.page.locator("tbody tr").count() == 100
        visitor.open("/contacts/new")
        visitor.page.fill("#displayName", "Nummer 101")
        visitor.page.check("[value=TECHNICAL]")
        assert visitor.save().status == 422
        [expected] = rejection(sample.contacts, request, language)
        assert expected in visitor.page.inner_text("#error-summary")
        assert visitor.page.input_value("#displayName") == "Nummer 101"


def test_form_that_is_sent_twice_saves_once(visitor, sample):
    """Without the script, a double click sends the same form twice."""
    visitor.open("/contacts/new")
    page = visitor.page
    page.fill("#displayName", "Dora Klein")
    page.check("[value=TECHNICAL]")
    page.check("[name=passwordEdit][value=generate]")
    form = page.evaluate(
        "Object.fromEntries(new FormData(document.getElementById('contact-form')))"
    )
    for _ in range(2):
        answer = page.request.post(page.url, form={**form, "action": "save"}, max_redirects=0)
        assert answer.status == 303
    visitor.open("/contacts")
    assert visitor.row("Dora Klein").count() == 1
    # Both answers have the same phone password.
    assert len(set(page.locator(".secret").all_inner_texts())) == 1


def test_generated_phone_password_is_shown_once(visitor, sample):
    page = visitor.page
    visitor.open(f"/contacts/{sample.carla.contact_id}/edit")
    page.check("[name=passwordEdit][value=generate]")
    visitor.save()
    password = page.inner_text("#phone-password")
    assert len(password.split()) == 3
    assert visitor.row("Carla Weber").get_by_text("gesetzt", exact=True).count() == 1
    page.reload()
    assert password not in page.content()
    visitor.open(f"/contacts/{sample.carla.contact_id}/edit")
    assert password not in page.content()
    page.check("[name=passwordEdit][value=clear]")
    visitor.save()
    assert not sample.now(sample.carla).phone_password.configured


def test_form_works_without_a_script(browser, portal, sample):
    with visiting(browser, portal, sample.number, java_script_enabled=False) as visitor:
        page = visitor.page
        visitor.open(f"/contacts/{sample.carla.contact_id}/edit")
        page.fill("#phoneNumbers-1", "0721 1234567")
        visitor.press("#add-phone")
        page.fill("#phoneNumbers-2", "0721 1234568")
        page.fill("#newEmail", address := unique_address("carla"))
        visitor.save()
        saved = sample.now(sample.carla)
        assert len(saved.phone_numbers) == 3 and saved.pending_email.email == address


def test_phone_lines_are_added_by_the_script(visitor, sample):
    page = visitor.page
    visitor.open(f"/contacts/{sample.carla.contact_id}/edit")
    while page.locator("#add-phone").is_visible():
        page.click("#add-phone")
    assert page.locator("[name=phoneNumbers]").count() == 10
    page.get_by_label("Telefonnummer 10").fill("123")
    assert visitor.save().status == 422
    # Empty lines before it change nothing.
    assert visitor.error_at("phoneNumbers-9")


def test_save_is_repeated_after_a_restart_of_the_service(browser, tmp_path, mailbox):
    """A save whose result is not known is sent again with the same request_id."""
    database = Database("sqlite", tmp_path)
    with Service(tmp_path, database, SMTP_URL=mailbox.smtp_url) as service:
        contacts = service.start()
        contact = contacts.create_contact(contacts.create_customer())
        with (
            Portal(service, tmp_path) as own_portal,
            visiting(browser, own_portal, contact.customer_number) as visitor,
        ):
            visitor.open(f"/contacts/{contact.contact_id}/edit")
            page = visitor.page
            page.fill("#position", "Leiterin")
            page.fill("#newEmail", address := unique_address())
            request_id = page.input_value("[name=requestId]")
            service.kill()
            response = visitor.save()
            # A write is sent once.
            assert (response.status, rpcs(response)) == (503, ["UpdateContact"])
            assert page.input_value("#position") == "Leiterin"
            assert page.input_value("#newEmail") == address
            assert page.input_value("[name=requestId]") == request_id
            contacts = service.start()
            visitor.save()
            assert contacts.get(contact).position == "Leiterin"
            assert mailbox.wait_for(address)
