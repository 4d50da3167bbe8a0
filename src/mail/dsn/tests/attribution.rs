//! The sources of the customer and the contact.

use rstest::rstest;

use super::*;

const CONTACT: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55";
const OTHER_CONTACT: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c56";

/// Composes a bounce with these headers, and these headers of the returned message.
fn bounce(headers: &str, returned: &str) -> String {
    format!(
        "{headers}Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\nContent-Type: message/delivery-status\n\n\
         Final-Recipient: rfc822; anna@example.com\nAction: failed\n\n\
         --b\nContent-Type: text/rfc822-headers\n\nFrom: invoices@sender.example\n{returned}\n--b--\n"
    )
}

/// Returns customer and contact, or the reason.
fn attribution(headers: &str, returned: &str) -> String {
    let outcomes = outcomes(bounce(headers, returned).as_bytes());
    assert_eq!(outcomes.len(), 1);
    let columns: Vec<_> = outcomes[0].split('\t').take(2).collect();
    columns.join(" ")
}

#[rstest]
#[case::to("To: bounces+K-1@sender.example\n")]
#[case::to_with_a_name("To: \"Bounces, Sender\" <bounces+K-1@sender.example>\n")]
#[case::one_of_several("To: a@example.com, bounces+K-1@sender.example\n")]
#[case::in_a_group("To: bounces: bounces+K-1@sender.example;\n")]
#[case::folded("To:\n bounces+K-1@sender.example\n")]
#[case::delivered_to("To: x@example.com\nDelivered-To: bounces+K-1@sender.example\n")]
#[case::original_to("X-Original-To: bounces+K-1@sender.example\n")]
#[case::envelope_to("envelope-to: bounces+K-1@sender.example\n")]
#[case::in_two_places("To: bounces+K-1@sender.example\nDelivered-To: bounces+K-1@sender.example\n")]
fn customer_of_the_bounce_address_is_read(#[case] headers: &str) {
    assert_eq!(attribution(headers, ""), "K-1 -");
}

#[rstest]
#[case::sender("Return-Path: <bounces+K-1@sender.example>\n")]
#[case::from("From: bounces+K-1@sender.example\n")]
#[case::copy("Cc: bounces+K-1@sender.example\n")]
#[case::name("To: \"bounces+K-1@sender.example\" <x@example.com>\n")]
#[case::comment("To: x@example.com (bounces+K-1@sender.example)\n")]
#[case::own_header("X-Customer-Number: K-1\n")]
fn other_headers_of_a_bounce_name_no_customer(#[case] headers: &str) {
    assert_eq!(attribution(headers, ""), "NoCustomer");
}

#[rstest]
#[case::alone("", "K-2", "", "K-2 -")]
#[case::same_as_address("To: bounces+K-2@sender.example\n", "K-2", "", "K-2 -")]
#[case::address_in_lower_case("To: bounces+k-2@sender.example\n", "K-2", "", "K-2 -")]
#[case::unlike_address("To: bounces+K-1@sender.example\n", "K-2", "", "Conflict")]
#[case::twice("", "K-2\nX-Customer-Number: K-2", "", "K-2 -")]
#[case::two_customers("", "K-2\nX-Customer-Number: K-3", "", "Conflict")]
#[case::two_cases("", "K-2\nX-Customer-Number: k-2", "", "Conflict")]
#[case::with_a_comment("", "K-2 (Muster)", "", "NoCustomer")]
#[case::not_a_number("", "K_2", "", "NoCustomer")]
#[case::not_a_contact("", "K-2", "17", "K-2 -")]
fn customer_of_the_returned_header_is_read(
    #[case] headers: &str,
    #[case] number: &str,
    #[case] contact: &str,
    #[case] expected: &str,
) {
    let returned = format!("X-Customer-Number: {number}\nX-Contact-Id: {contact}\n");
    assert_eq!(attribution(headers, &returned), expected);
}

#[test]
fn contact_is_read_from_either_place() {
    let header = format!("X-Customer-Number: K-1\nX-Contact-Id: {CONTACT}\n");
    let expected = format!("K-1 {CONTACT}");
    let id = CONTACT.replace('-', "");
    let to = format!("To: bounces+K-1={id}@sender.example\n");
    assert_eq!(attribution(&to, ""), expected);
    assert_eq!(attribution("", &header), expected);
    assert_eq!(attribution(&to, &header), expected);
    assert_eq!(
        attribution("To: bounces+K-1@sender.example\n", &header),
        expected
    );
    let other = header.replace(CONTACT, OTHER_CONTACT);
    assert_eq!(attribution(&to, &other), "Conflict");
}

/// Contact ids are looked up within one customer only.
#[test]
fn contact_without_customer_is_ignored() {
    let header = format!("X-Contact-Id: {CONTACT}\n");
    assert_eq!(attribution("", &header), "NoCustomer");
    assert_eq!(
        attribution("To: bounces+K-1@sender.example\n", &header),
        "K-1 -"
    );
}

#[test]
fn without_bounce_address_only_headers_name_a_customer() {
    let to = "To: bounces+K-1@sender.example\n";
    let reason = read(bounce(to, "").as_bytes(), None).remove(0).unwrap_err();
    assert_eq!(reason, Unattributed::NoCustomer);
    let report = read(bounce(to, "X-Customer-Number: K-2\n").as_bytes(), None)
        .remove(0)
        .unwrap();
    assert_eq!(report.customer_number.as_str(), "K-2");
}

#[rstest]
#[case::header(
    "From: a@sender.example\nTo: b@example.com\nX-Customer-Number: K-1\n",
    "K-1 -"
)]
#[case::quoted(
    "> From: a@sender.example\n> To: b@example.com\n> X-Customer-Number: K-1\n",
    "K-1 -"
)]
#[case::line_of_prose("We know this customer.\nX-Customer-Number: K-1\n", "NoCustomer")]
#[case::one_header("Note: see below\nDate: today\nX-Customer-Number: K-1\n", "NoCustomer")]
#[case::interrupted(
    "From: a@sender.example\nTo: b@example.com\n\nX-Customer-Number: K-1\n",
    "NoCustomer"
)]
#[case::first_header(
    "From: a\nTo: b\nX-Customer-Number: K-1\n\nFrom: a\nTo: b\nX-Customer-Number: K-2\n",
    "K-1 -"
)]
fn customer_of_a_quoted_header_is_read(#[case] text: &str, #[case] expected: &str) {
    let message = format!(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\nContent-Type: text/plain\n\nThe mail was returned:\n\n{text}\n\
         --b\nContent-Type: message/delivery-status\n\n\
         Final-Recipient: rfc822; anna@example.com\nAction: failed\n\n--b--\n"
    );
    let outcome = outcomes(message.as_bytes()).remove(0);
    let columns: Vec<_> = outcome.split('\t').take(2).collect();
    assert_eq!(columns.join(" "), expected);
}
