"""Every screen in both languages and widths: accessible, with the RPCs that the guide names."""

from __future__ import annotations

import pytest
from contact.v1 import contact_pb2, customer_pb2

from support import report
from support.contacts import unique_address
from support.portal import CHECK, SAVE, rpcs, screenshot, violations_of_axe, visiting

from sample import TECHNICAL, make_findings


def check_screen(visitor, name: str) -> None:
    """Checks language, accessibility in both color schemes, and the width; takes screenshots."""
    page = visitor.page
    assert page.get_attribute("html", "lang") == visitor.language
    assert page.locator("h1").count() == 1
    screenshot(page, f"{visitor.language}-{name}")
    # Without the time that buttons take to change their color.
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert violations_of_axe(page, "color-contrast") == [], f"{name}, dark"
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    assert violations_of_axe(page) == [], name


def test_every_screen_is_accessible(browser, portal, sample, language):
    sample.contacts.change_email(sample.bernd, f"maier@{sample.domain}")
    with visiting(browser, portal, sample.number, language) as visitor:
        page = visitor.page
        check_screen(visitor, "contacts")
        for path, name in [
            ("/contacts/new", "form-new"),
            (f"/contacts/{sample.bernd.contact_id}/edit", "form"),
            (f"/contacts/{sample.bernd.contact_id}/delete", "delete"),
            (f"/contacts/{sample.anna.contact_id}/delete", "delete-last"),
            ("/invoices", "invoices"),
            ("/customer", "customer"),
            ("/review", "review-pending"),
            ("/one-time-code", "one-time-code-form"),
        ]:
            assert visitor.open(path).status == 200
            check_screen(visitor, name)
        assert visitor.open("/nothing").status == 404
        check_screen(visitor, "not-found")

        visitor.open(f"/contacts/{sample.anna.contact_id}/edit")
        page.uncheck("input[value=STANDARD]")
        page.fill("#newEmail", "anna")
        page.fill("#phoneNumbers-1", "123")
        assert visitor.save().status == 422
        check_screen(visitor, "form-errors")

        visitor.open(f"/contacts/{sample.anna.contact_id}/edit")
        page.uncheck("#invoiceEmail")
        visitor.press(CHECK)
        check_screen(visitor, "form-preview")

        visitor.open(f"/contacts/{sample.anna.contact_id}/edit")
        page.fill("#displayName", "Anna Beck")
        page.fill("#position", "Prokuristin")
        sample.update(sample.anna, ["display_name"], display_name="Anna Schmidt-Beck")
        assert visitor.save().status == 409
        check_screen(visitor, "form-conflict")

        visitor.open(f"/contacts/{sample.carla.contact_id}/edit")
        page.check("input[name=passwordEdit][value=generate]")
        visitor.save()
        check_screen(visitor, "phone-password")

        visitor.open("/one-time-code")
        visitor.press("main form button")
        check_screen(visitor, "one-time-code")

        make_findings(sample)
        visitor.open("/review")
        check_screen(visitor, "review-first")
        visitor.press("#last-review button")
        visitor.open("/review")
        check_screen(visitor, "review")

        visitor.press("form.account button")
        check_screen(visitor, "login")
        page.fill("#customerNumber", "K 1")
        visitor.press("#customerNumber + button")
        check_screen(visitor, "login-error")


def test_customer_without_contacts_begins_with_standard(
    browser, portal, contacts, mailbox, language
):
    number = contacts.create_customer()
    with visiting(browser, portal, number, language) as visitor:
        check_screen(visitor, "contacts-none")
        visitor.press("main a.primary")
        assert visitor.page.is_checked("input[value=STANDARD]")
        visitor.page.fill("#displayName", "Empfang")
        visitor.save()
        assert visitor.row("Empfang").count() == 1


def test_rpcs_of_each_screen(browser, portal, sample):
    """The figures of docs/guides/portal-bff.md."""
    bernd = f"/contacts/{sample.bernd.contact_id}"
    with visiting(browser, portal, sample.number) as visitor:
        page = visitor.page

        def opened(path: str) -> list[str]:
            return rpcs(visitor.open(path))

        figures = {"contacts": opened("/contacts")}
        # The catalog of order types is kept for some minutes, for all customers.
        opened("/contacts/new")
        figures["new contact"] = opened("/contacts/new")
        figures["edit"] = opened(f"{bernd}/edit")
        page.fill("#position", "Leiter")
        page.fill("#newEmail", unique_address("bernd"))
        page.check("input[name=passwordEdit][value=generate]")
        figures["check"] = rpcs(visitor.press(CHECK))
        figures["save"] = rpcs(visitor.save())
        visitor.open("/contacts/new")
        page.fill("#displayName", "Dora Klein")
        page.check("input[value=TECHNICAL]")
        figures["create"] = rpcs(visitor.save())
        figures["resend"] = rpcs(visitor.press("form[action$=resend-email] button"))
        figures["cancel address"] = rpcs(visitor.press("form[action$=cancel-email] button"))
        figures["delete, asked"] = opened(f"{bernd}/delete")
        figures["delete"] = rpcs(visitor.press("main button.danger"))
        figures["invoices"] = opened("/invoices")
        figures["contact data"] = opened("/customer")
        figures["save settings"] = rpcs(visitor.press("main button.primary"))
        figures["review"] = opened("/review")
        figures["mark reviewed"] = rpcs(visitor.press("#last-review button"))
        figures["code, asked"] = opened("/one-time-code")
        figures["code"] = rpcs(visitor.press("main form button"))

    for name, sent in figures.items():
        report.add("RPCs of each screen", screen=name, count=len(sent), rpcs=" ".join(sent))
    assert {name: sorted(sent) for name, sent in figures.items()} == {
        "contacts": ["ListContacts"],
        "new contact": [],
        "edit": ["GetContact"],
        "check": ["UpdateContact"],
        "save": ["UpdateContact"],
        "create": ["CreateContact"],
        "code, asked": ["ListContacts"],
        "code": ["CreateOneTimeCode", "GetContact"],
        "resend": ["ResendEmailConfirmation"],
        "cancel address": ["CancelEmailChange"],
        "delete, asked": ["DeleteContact", "GetContact"],
        "delete": ["DeleteContact"],
        "invoices": ["BatchResolveRecipients", "GetCustomer", "ListContacts"],
        "contact data": ["BatchResolveRecipients", "GetCustomer"],
        "save settings": ["UpdateCustomer"],
        "review": ["ListContacts", "ReviewContacts"],
        "mark reviewed": ["MarkContactsReviewed"],
    }


def test_one_save_changes_fields_address_and_password(visitor, sample):
    visitor.open(f"/contacts/{sample.carla.contact_id}/edit")
    page, address = visitor.page, unique_address("carla")
    page.select_option("#salutation", "FRAU")
    page.fill("#title", "Dr.")
    page.fill("#department", "Rechenzentrum")
    page.check("input[value=DATA_PROTECTION]")
    page.fill("#phoneNumbers-1", "0171 1234563")
    page.select_option("#locale", "de")
    page.check("input[name=deniedOrderTypes][value=cancellation]")
    page.fill("#note", "Nur bis 500 Euro\nim Monat")
    page.fill("#newEmail", address)
    page.fill("#newPassword", "gelber Kranich 12")
    assert rpcs(visitor.save()) == ["UpdateContact"]
    assert address in visitor.flash()

    saved = sample.now(sample.carla)
    assert saved.display_name == "Dr. Carla Weber"
    assert saved.name.salutation == contact_pb2.SALUTATION_FRAU
    assert saved.department == "Rechenzentrum"
    assert saved.types == [TECHNICAL, contact_pb2.CONTACT_TYPE_DATA_PROTECTION]
    assert list(saved.phone_numbers) == ["+497211234561", "+491711234563"]
    assert saved.locale == "de"
    assert list(saved.restrictions.denied_order_types) == ["cancellation"]
    assert saved.restrictions.note == "Nur bis 500 Euro\nim Monat"
    assert saved.email == sample.carla.email and saved.pending_email.email == address
    assert saved.phone_password.configured

    # The form shows what was saved, and a save without a change sends nothing.
    visitor.open(f"/contacts/{sample.carla.contact_id}/edit")
    assert page.input_value("#note") == "Nur bis 500 Euro\nim Monat"
    assert rpcs(visitor.save()) == []
    assert sample.now(sample.carla).etag == saved.etag


def test_times_are_in_the_zone_of_the_reader(browser, portal, sample):
    sample.contacts.change_email(sample.bernd, unique_address("bernd"))
    with visiting(browser, portal, sample.number) as visitor:
        assert "ME" in visitor.page.locator(".pending time").inner_text()
    options = {"java_script_enabled": False}
    with visiting(browser, portal, sample.number, "en", **options) as visitor:
        assert "Europe/Berlin" in visitor.page.locator(".pending time").inner_text()


@pytest.mark.parametrize("java_script", [True, False])
def test_recipients_are_previewed_before_saving(browser, portal, sample, java_script):
    with visiting(browser, portal, sample.number, java_script_enabled=java_script) as visitor:
        page = visitor.page
        visitor.open(f"/contacts/{sample.bernd.contact_id}/edit")
        page.uncheck("#invoiceEmail")
        if not java_script:
            visitor.press(CHECK)
        preview = page.locator("#preview li").first
        preview.wait_for()
        assert f"Rechnungen gehen künftig an Anna Schmidt (anna@{sample.domain})." in (
            preview.inner_text()
        )
        visitor.open(f"/contacts/{sample.anna.contact_id}/edit")
        sample.update(sample.bernd, ["invoice_email_enabled"], invoice_email_enabled=False)
        page.uncheck("#invoiceEmail")
        if not java_script:
            visitor.press(CHECK)
        preview.wait_for()
        assert "Rechnungen kommen künftig per Post" in preview.inner_text()
        assert sample.now(sample.anna).invoice_email_enabled


def test_settings_and_attention_line(visitor, sample):
    page = visitor.page
    visitor.open("/customer")
    page.uncheck("input[name=outages]")
    visitor.press("main button.primary")
    assert not page.is_checked("input[name=outages]") and page.is_checked(
        "input[name=securityNotices]"
    )
    assert f"info@{sample.domain}" not in page.locator("label", has_text="Störung").inner_text()

    visitor.open("/invoices")
    assert page.inner_text(".sample-line") == "z.Hd. Bernd Maier"
    page.fill("#orderedByEmail", f"anna@{sample.domain}")
    assert visitor.press("#attention-line button").status == 422
    assert visitor.error_at("orderedByEmail")
    page.fill("#orderedByEmail", f"info@{sample.domain}")
    visitor.press("#attention-line button")
    assert page.locator(".sample-line").count() == 0
    assert f"info@{sample.domain}" in page.inner_text("#attention-line")


@pytest.mark.parametrize("wanted", [False, True])
def test_notices_of_contact_changes_are_a_setting(visitor, sample, wanted):
    """Rule 31."""
    page, name = visitor.page, "input[name=contactChanges]"
    visitor.open("/customer")
    assert page.is_checked(name)
    page.set_checked(name, False)
    visitor.press("main button.primary")
    assert not page.is_checked(name) and page.is_checked("input[name=outages]")
    page.set_checked(name, wanted)
    visitor.press("main button.primary")
    assert page.is_checked(name) == wanted
    stored = sample.contacts.call(
        "UpdateCustomer",
        customer_pb2.UpdateCustomerRequest(
            customer=customer_pb2.Customer(customer_number=sample.number), validate_only=True
        ),
    ).customer.notification_settings
    assert stored == customer_pb2.NotificationSettings(
        security_notices=True, planned_maintenance=True, outages=True, contact_changes=wanted
    )


def test_every_page_works_with_the_keyboard(visitor, sample):
    page = visitor.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    visitor.open(f"/contacts/{sample.anna.contact_id}/edit")
    page.fill("#position", "x" * 101)
    page.focus(SAVE)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    # The errors come first.
    assert page.evaluate("document.activeElement.id") == "error-summary"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "position"
