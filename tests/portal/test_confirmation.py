"""An address from the form to its confirmation (rules 5 to 9)."""

from __future__ import annotations

from support import browser as web
from support.contacts import unique_address
from support.portal import visiting


def test_address_is_confirmed_end_to_end(browser, portal, sample, mailbox, language):
    address = unique_address("bernd")
    with visiting(browser, portal, sample.number, language) as visitor:
        visitor.open(f"/contacts/{sample.bernd.contact_id}/edit")
        visitor.page.fill("#newEmail", address)
        visitor.save()
        row = visitor.row("Bernd Maier")
        pending = row.locator(".pending")
        # Both addresses are shown, and the current one stays in use.
        assert f"bernd@{sample.domain}" in row.inner_text()
        assert address in pending.inner_text() and pending.locator("time").count() == 1
        visitor.open("/invoices")
        assert f"bernd@{sample.domain}" in visitor.page.inner_text("main")
        assert address not in visitor.page.inner_text("main")

        link = mailbox.wait_for(address).link
        with web.opened(browser, link, language) as page:
            assert web.state(page) == "pending"
            web.press(page)
            web.wait_for_state(page, "confirmed")

        visitor.open("/contacts")
        assert pending.count() == 0 and address in row.inner_text()
        visitor.open("/invoices")
        assert address in visitor.page.inner_text("main")


def test_link_is_sent_again_until_the_limit(visitor, sample, mailbox):
    address = unique_address("bernd")
    sample.contacts.change_email(sample.bernd, address)
    visitor.open("/contacts")
    for count in range(2, 5):
        visitor.press("form[action$=resend-email] button")
        assert visitor.page.locator("main > .notice.success").count() == 1
        assert mailbox.wait_for(address, count=count)
    pending = visitor.row("Bernd Maier").locator(".pending")
    assert "je Stunde" in pending.inner_text()
    visitor.press("form[action$=resend-email] button")
    assert visitor.page.locator("main > .notice.error").count() == 1
    assert len(mailbox.mails_to(address)) == 4


def test_cancelled_address_is_gone(browser, visitor, sample, mailbox):
    address = unique_address("bernd")
    sample.contacts.change_email(sample.bernd, address)
    link = mailbox.wait_for(address).link
    visitor.open("/contacts")
    visitor.press("form[action$=cancel-email] button")
    assert address not in visitor.row("Bernd Maier").inner_text()
    with web.opened(browser, link) as page:
        assert web.state(page) == "superseded"
