"""Two people who edit at once, and the last STANDARD contact (rule 2)."""

from __future__ import annotations

import pytest

from support.contacts import unique_address
from support.portal import SAVE, rpcs, visiting

from sample import STANDARD, TECHNICAL

CONFLICT_SAVE = "#conflict button[value=save]"


@pytest.fixture
def couple(browser, portal, sample):
    """Two people of one customer, who have the form of Bernd open."""
    with (
        visiting(browser, portal, sample.number) as first,
        visiting(browser, portal, sample.number, "en") as second,
    ):
        for visitor in (first, second):
            visitor.open(f"/contacts/{sample.bernd.contact_id}/edit")
        yield first, second


@pytest.mark.parametrize("choice", ["mine", "theirs"])
def test_second_person_sees_the_conflict_and_loses_nothing(couple, sample, choice):
    first, second = couple
    first.page.fill("#position", "Buchhalter")
    first.page.fill("#department", "Finanzen")
    assert "gespeichert" in (first.save(), first.flash())[1]

    address = unique_address("bernd")
    typed = {
        "position": "Head of accounting",
        "title": "Dr.",
        "newEmail": address,
        "newPassword": "blauer Reiher 4",
        "note": "Call before noon",
        "phoneNumbers-1": "0171 7654321",
    }
    for name, value in typed.items():
        second.page.fill(f"#{name}", value)
    second.page.check("[name=types][value=OWNER]")
    before = sample.all()
    response = second.save()
    assert (response.status, rpcs(response)) == (409, ["UpdateContact", "GetContact"])
    assert sample.all() == before

    # Nothing typed is lost, and what the other person saved is shown and taken over.
    page = second.page
    assert {name: page.input_value(f"#{name}") for name in typed} == typed
    assert page.is_checked("[name=types][value=OWNER]")
    assert page.is_checked("[name=emailEdit][value=set]")
    assert page.input_value("#department") == "Finanzen"
    rows = page.locator("#conflict tbody tr").all_inner_texts()
    assert len(rows) == 2
    assert "Buchhalter" in rows[0] and "Head of accounting" in rows[0]
    assert "Finanzen" in rows[1]
    assert page.evaluate("document.activeElement.id") == "conflict"

    page.check(f"[name='choice.position'][value={choice}]")
    second.press(CONFLICT_SAVE)
    saved = sample.now(sample.bernd)
    assert saved.position == {"mine": typed["position"], "theirs": "Buchhalter"}[choice]
    assert saved.department == "Finanzen"
    assert saved.name.title == "Dr." and saved.restrictions.note == typed["note"]
    assert saved.pending_email.email == address and saved.phone_password.configured
    assert len(saved.phone_numbers) == 2


def test_second_person_can_discard_their_entries(couple, sample):
    first, second = couple
    first.page.fill("#position", "Buchhalter")
    first.save()
    second.page.fill("#position", "Clerk")
    second.save()
    second.press("#conflict a")
    assert second.page.input_value("#position") == "Buchhalter"
    assert sample.now(sample.bernd).position == "Buchhalter"


def test_both_enter_an_address(couple, sample):
    first, second = couple
    theirs, mine = unique_address("theirs"), unique_address("mine")
    first.page.fill("#newEmail", theirs)
    first.save()
    second.page.fill("#newEmail", mine)
    assert second.save().status == 409
    assert theirs in second.page.inner_text("#conflict")
    assert second.page.input_value("#newEmail") == mine
    second.page.check("[name='choice.email'][value=theirs]")
    second.page.fill("#position", "Clerk")
    second.press(CONFLICT_SAVE)
    saved = sample.now(sample.bernd)
    assert saved.pending_email.email == theirs and saved.position == "Clerk"


def test_address_that_is_gone_is_named_at_its_field(browser, portal, sample):
    sample.contacts.change_email(sample.bernd, unique_address("bernd"))
    with visiting(browser, portal, sample.number) as visitor:
        visitor.open(f"/contacts/{sample.bernd.contact_id}/edit")
        visitor.page.check("[name=emailEdit][value=cancel]")
        sample.contacts.cancel_change(sample.bernd)
        assert visitor.save().status == 409
        assert visitor.press(SAVE).status == 422
        assert visitor.error_at("newEmail")


def test_deleted_contact_keeps_what_was_typed(couple, sample):
    first, second = couple
    first.open(f"/contacts/{sample.bernd.contact_id}/delete")
    first.press("main button.danger")
    second.page.fill("#position", "Clerk")
    assert second.save().status == 422
    assert second.page.input_value("#position") == "Clerk"
    assert second.page.locator("#error-summary li").count() == 1


def test_last_standard_contact_cannot_be_deleted(browser, portal, sample, language):
    with visiting(browser, portal, sample.number, language) as visitor:
        page = visitor.page
        button = visitor.row("Anna Schmidt").locator("button[aria-disabled=true]")
        described = button.get_attribute("aria-describedby")
        assert "Standard" in page.inner_text(f"#{described}")
        button.focus()
        page.keyboard.press("Enter")
        assert page.url.endswith(f"/{language}/contacts")
        # Also where the page is opened by its address.
        visitor.open(f"/contacts/{sample.anna.contact_id}/delete")
        assert page.locator("[role=alert]").count() == 1
        assert page.locator("main button.danger").count() == 0

        sample.update(sample.carla, ["types"], types=[STANDARD, TECHNICAL])
        visitor.open("/contacts")
        assert page.locator("[aria-disabled=true]").count() == 0
        visitor.open(f"/contacts/{sample.anna.contact_id}/delete")
        assert f"bernd@{sample.domain}" in page.inner_text(".changes")
        # Lost in the meantime, Anna is the last one again.
        sample.update(sample.carla, ["types"], types=[TECHNICAL])
        visitor.press("main button.danger")
        assert page.locator("main > .notice.error").count() == 1
        assert visitor.row("Anna Schmidt").count() == 1
