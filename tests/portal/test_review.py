"""The review of the contacts: findings, where they are corrected, and its declaration (rule 33)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from contact.v1 import contact_pb2, delivery_pb2, review_pb2

from support.contacts import unique_address
from support.portal import Portal, visiting
from support.processes import free_port

from sample import make_findings

KINDS = review_pb2.FindingKind.items()


def review_of(sample) -> review_pb2.ReviewContactsResponse:
    request = review_pb2.ReviewContactsRequest(customer_number=sample.number)
    return sample.contacts.call("ReviewContacts", request)


def links(visitor, kind: str) -> dict[str, str]:
    """Returns the links of a finding by their texts, after the language in the path."""
    found = visitor.page.locator(f"[data-kind={kind}] a").all()
    prefix = f"/{visitor.language}"
    return {a.inner_text(): a.get_attribute("href").removeprefix(prefix) for a in found}


def test_findings_lead_to_where_they_are_corrected(browser, portal, sample, language):
    dora = make_findings(sample)
    with visiting(browser, portal, sample.number, language) as visitor:
        visitor.open("/review")
        items = visitor.page.locator("#findings > li")
        assert [item.get_attribute("data-kind") for item in items.all()] == [
            "NO_INVOICE_RECIPIENT",
            "NO_EMAIL",
            "EMAIL_UNCONFIRMED",
            "NO_CONTACT_DATA_EMAIL",
        ]
        table = {"de": "Ansprechpartner bearbeiten", "en": "Edit contacts"}[language]
        data = {"de": "Zu Ihren Kontaktdaten", "en": "Go to your contact data"}[language]
        form = f"/contacts/{dora.contact_id}/edit"
        row = f"#contact-{sample.bernd.contact_id}"
        assert links(visitor, "NO_INVOICE_RECIPIENT") == {table: "/contacts"}
        assert links(visitor, "NO_EMAIL") == {"Dora Klein": form}
        assert links(visitor, "EMAIL_UNCONFIRMED") == {"Bernd Maier": f"/contacts{row}"}
        assert links(visitor, "NO_CONTACT_DATA_EMAIL") == {data: "/customer"}
        assert visitor.open(form).status == 200
        visitor.open(f"/contacts{row}")
        assert visitor.page.locator(f"tr{row} form[action$=resend-email]").count() == 1


def test_corrected_finding_disappears(visitor, sample):
    sample.contacts.change_email(sample.bernd, unique_address("bernd"))
    visitor.open("/review")
    visitor.press("[data-kind=EMAIL_UNCONFIRMED] a")
    visitor.press("form[action$=cancel-email] button")
    visitor.open("/review")
    assert visitor.page.locator("#findings").count() == 0


def test_contact_data_that_bounces_is_found_and_shown(visitor, sample):
    page, mark = visitor.page, "kamen als unzustellbar zurück"
    visitor.open("/customer")
    assert mark not in page.inner_text("main")
    report = delivery_pb2.DeliveryReport(
        customer_number=sample.number,
        email=f"info@{sample.domain}",
        status=delivery_pb2.DELIVERY_STATUS_FAILED_PERMANENTLY,
    )
    report.report_time.GetCurrentTime()
    request = delivery_pb2.ReportDeliveriesRequest(reports=[report])
    (result,) = sample.contacts.call("ReportDeliveries", request).results
    assert result == delivery_pb2.DELIVERY_REPORT_RESULT_MARKED
    visitor.open("/review")
    visitor.press("[data-kind=CONTACT_DATA_EMAIL_BOUNCED] a")
    assert mark in page.inner_text("dd.address")


def test_only_reachable_contact_is_named(visitor, sample):
    for contact in (sample.bernd, sample.carla):
        sample.contacts.call(
            "DeleteContact",
            contact_pb2.DeleteContactRequest(
                customer_number=sample.number, contact_id=contact.contact_id
            ),
        )
    visitor.open("/review")
    finding = visitor.page.locator("[data-kind=NO_SUBSTITUTE]")
    assert "Erreichbar: Anna Schmidt" in finding.inner_text()
    assert list(links(visitor, "NO_SUBSTITUTE").values()) == ["/contacts"]
    assert visitor.page.locator("[data-kind=NO_TECHNICAL_CONTACT]").count() == 1


def test_complete_contacts_have_nothing_to_correct(visitors, language):
    visitor = visitors[language]
    visitor.open("/review")
    text = {"de": "Nichts zu korrigieren", "en": "Nothing to correct"}[language]
    assert visitor.page.get_by_role("heading", name=text).count() == 1
    assert visitor.page.locator("#findings").count() == 0


def test_review_is_marked_by_the_visitor(browser, portal, sample, language):
    before, after = {
        "de": ("noch nicht geprüft", "Geprüft von\nIhnen"),
        "en": ("not been reviewed yet", "Reviewed by\nyou"),
    }[language]
    with visiting(browser, portal, sample.number, language) as visitor:
        page = visitor.page
        visitor.open("/review")
        assert before in page.inner_text("#last-review")
        assert visitor.press("#last-review button").status == 303
        assert page.locator("main > .notice.success").count() == 1
        assert after in page.inner_text("#last-review")
        assert page.locator("#last-review time").count() == 1
        assert review_of(sample).last_review.reviewed_by == f"portal-demo-{sample.number}"
        # The form was sent by a POST, so that nothing is sent again.
        marked = review_of(sample).last_review.review_time
        page.reload()
        assert page.locator("main > .notice").count() == 0
        assert review_of(sample).last_review.review_time == marked


def test_review_that_is_sent_twice_is_marked_once(visitor, sample):
    visitor.open("/review")
    page = visitor.page
    form = {
        name: page.input_value(f"#last-review [name={name}]") for name in ("csrf", "requestId")
    }
    times = []
    for _ in range(2):
        assert page.request.post(page.url, form=form, max_redirects=0).status == 303
        times.append(review_of(sample).last_review.review_time.ToNanoseconds())
    assert times[0] == times[1] > 0


def test_review_needs_the_token_of_the_session(visitor, sample):
    visitor.open("/review")
    page = visitor.page
    request_id = page.input_value("#last-review [name=requestId]")
    for csrf in ({}, {"csrf": "x"}):
        sent = page.request.post(page.url, form={"requestId": request_id, **csrf})
        assert sent.status == 403
    assert not review_of(sample).HasField("last_review")


def test_review_of_someone_else_names_its_subject(visitor, sample):
    request = review_pb2.MarkContactsReviewedRequest(customer_number=sample.number)
    sample.contacts.call("MarkContactsReviewed", request)
    visitor.open("/review")
    subject = review_of(sample).last_review.reviewed_by
    assert f"Geprüft von\n{subject}" in visitor.page.inner_text("#last-review")


def test_rejected_review_is_explained(visitor, sample):
    visitor.open("/review")
    visitor.page.eval_on_selector("#last-review [name=requestId]", "e => e.value = 'none'")
    visitor.press("#last-review button")
    assert visitor.page.locator("main > .notice.error").count() == 1
    assert not review_of(sample).HasField("last_review")


class EveryFinding(grpc.GenericRpcHandler):
    """A service whose review finds every kind, and one of a newer service."""

    KINDS = [number for _, number in KINDS if number] + [99]

    def service(self, handler_call_details):
        contact = contact_pb2.Contact(contact_id="1", display_name="Anna Schmidt")
        responses = {
            "ListContacts": contact_pb2.ListContactsResponse(contacts=[contact]),
            # The second contact was deleted in between.
            "ReviewContacts": review_pb2.ReviewContactsResponse(
                findings=[{"kind": kind, "contact_ids": ["1", "2"]} for kind in self.KINDS]
            ),
        }
        response = responses[handler_call_details.method.rpartition("/")[2]]
        return grpc.unary_unary_rpc_method_handler(lambda *_: response.SerializeToString())


@contextmanager
def serving(handler: grpc.GenericRpcHandler):
    server, port = grpc.server(ThreadPoolExecutor(1), handlers=[handler]), free_port()
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(None)


def test_every_kind_of_finding_has_words(browser, service, sample, tmp_path, language):
    with (
        serving(EveryFinding()) as url,
        Portal(service, tmp_path, CONTACT_SERVICE_URL=url) as portal,
        visiting(browser, portal, sample.number, language) as visitor,
    ):
        visitor.open("/review")
        texts = visitor.page.locator("#findings > li").all_inner_texts()
        titles = visitor.page.locator("#findings > li > strong").all_inner_texts()
        assert len(set(titles)) == len(titles) == len(EveryFinding.KINDS)
        for text, (name, _) in zip(texts, KINDS[1:]):
            assert name.removeprefix("FINDING_KIND_") not in text
        # A kind that is not known yet still leads to its contacts.
        unknown = visitor.page.locator("#findings > li").last
        link = unknown.locator("a", has_text="Anna Schmidt")
        assert link.get_attribute("href") == f"/{language}/contacts/1/edit"
        assert "99" not in texts[-1]
        assert all("undefined" not in text for text in texts)
        for index in range(len(texts)):
            assert visitor.page.locator(f"#findings > li:nth-child({index + 1}) a").count() == 1
