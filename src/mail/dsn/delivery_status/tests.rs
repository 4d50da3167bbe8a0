//! Groups, actions, codes and times of delivery reports.

use rstest::rstest;

use super::*;

fn notice(fields: &str) -> Notice {
    let mut notices = parse(&format!(
        "Final-Recipient: rfc822; anna@example.com\n{fields}"
    ));
    assert_eq!(notices.len(), 1);
    notices.remove(0)
}

/// Returns the addresses of a report, with a dash for none.
fn addresses(text: &str) -> Vec<String> {
    let address = |notice: &Notice| {
        notice
            .address
            .as_ref()
            .map(|email| email.as_str().to_owned())
    };
    let notices = parse(text);
    notices
        .iter()
        .map(|notice| address(notice).unwrap_or_else(|| "-".to_owned()))
        .collect()
}

#[rstest]
#[case("failed", "5.1.1", Some(DeliveryStatus::FailedPermanently))]
#[case("failed", "4.4.7", Some(DeliveryStatus::FailedPermanently))]
#[case("Failed (after 5 days)", "", Some(DeliveryStatus::FailedPermanently))]
#[case("delayed", "4.4.1", Some(DeliveryStatus::FailedTemporarily))]
#[case("delivered", "2.0.0", Some(DeliveryStatus::Delivered))]
#[case("relayed", "2.0.0", Some(DeliveryStatus::Delivered))]
#[case("expanded", "2.0.0", Some(DeliveryStatus::Delivered))]
#[case("rejected", "5.7.1", Some(DeliveryStatus::FailedPermanently))]
#[case("rejected", "4.7.1", Some(DeliveryStatus::FailedTemporarily))]
#[case("", "2.1.5", Some(DeliveryStatus::Delivered))]
#[case("rejected", "unknown", None)]
#[case("", "", None)]
fn action_precedes_the_class_of_the_status(
    #[case] action: &str,
    #[case] status: &str,
    #[case] expected: Option<DeliveryStatus>,
) {
    assert_eq!(
        notice(&format!("Action: {action}\nStatus: {status}\n")).status,
        expected
    );
}

#[rstest]
#[case("5.1.1", "smtp; 550 5.7.1 blocked", "5.1.1")]
#[case("5.1.1 (no mailbox)", "", "5.1.1")]
#[case("(no mailbox) 5.1.1", "", "5.1.1")]
#[case("5.1.1 no mailbox", "", "5.1.1")]
#[case("5.0.0", "smtp; 550 5.1.1 unknown", "5.1.1")]
#[case("5.0.0", "smtp;550-5.1.1 unknown", "5.1.1")]
#[case("5.0.0", "smtp; 550  #5.1.1 unknown", "5.1.1")]
#[case("5.0.0", "smtp; 550 5.1.1", "5.1.1")]
#[case("4.0.0", "smtp; 550 5.1.1 unknown", "5.1.1")]
#[case("", "smtp; 550 5.1.1 unknown", "5.1.1")]
#[case("5.0.0", "smtp; 550 unknown 5.1.1", "5.0.0")]
#[case("5.0.0", "smtp; see 550 5.1.1", "5.0.0")]
#[case("5.0.0", "550 5.1.1 without a type", "5.0.0")]
#[case("5.0.0", "X-Notes; user unknown", "5.0.0")]
#[case("5.0.0", "", "5.0.0")]
#[case("5.2.0", "smtp; 550 5.2.2 full", "5.2.0")]
#[case("unknown", "smtp; 550 unknown", "-")]
fn most_specific_code_is_taken(
    #[case] status: &str,
    #[case] diagnostic_code: &str,
    #[case] expected: &str,
) {
    let fields = format!("Action: failed\nStatus: {status}\nDiagnostic-Code: {diagnostic_code}\n");
    let code = notice(&fields).enhanced_status.map(|code| code.to_string());
    assert_eq!(code.as_deref().unwrap_or("-"), expected);
}

#[rstest]
#[case(
    "Last-Attempt-Date: Mon, 2 Mar 2026 08:15:04 +0100",
    Some("2026-03-02T07:15:04+00:00")
)]
#[case(
    "last-attempt-date: 2 Mar 2026 08:15:04 GMT",
    Some("2026-03-02T08:15:04+00:00")
)]
#[case("Last-Attempt-Date: yesterday", None)]
#[case("Last-Attempt-Date: Mon, 99 Mar 2026 99:15:04 +0100", None)]
#[case("Arrival-Date: Mon, 2 Mar 2026 08:15:04 +0100", None)]
fn time_is_that_of_the_last_attempt(#[case] field: &str, #[case] expected: Option<&str>) {
    let time = notice(field).time.map(|time| time.to_rfc3339());
    assert_eq!(time.as_deref(), expected);
}

#[rstest]
#[case::blank_lines(
    "Final-Recipient: a@x.example\nAction: failed\n\nFinal-Recipient: b@x.example\nAction: failed\n"
)]
#[case::several_blank_lines(
    "\n\nFinal-Recipient: a@x.example\nAction: failed\n\n\r\n\nFinal-Recipient: b@x.example\nAction: failed\n\n\n"
)]
#[case::no_blank_line(
    "Final-Recipient: a@x.example\nAction: failed\nFinal-Recipient: b@x.example\nAction: failed\n"
)]
#[case::no_blank_line_before_the_original(
    "Final-Recipient: a@x.example\nAction: failed\nOriginal-Recipient: b@x.example\nFinal-Recipient: c@x.example\n"
)]
#[case::blank_lines_within(
    "Final-Recipient: a@x.example\n\nAction: failed\n\nFinal-Recipient: b@x.example\n\nAction: failed\n"
)]
#[case::no_actions("Final-Recipient: a@x.example\n\nOriginal-Recipient: b@x.example\n\n")]
#[case::no_action_before_the_original(
    "Original-Recipient: a@x.example\n\nFinal-Recipient: b@x.example\nAction: failed\n"
)]
#[case::action_first(
    "Action: failed\nFinal-Recipient: a@x.example\nAction: failed\nFinal-Recipient: b@x.example\n"
)]
#[case::original_last(
    "Final-Recipient: f@x.example\nOriginal-Recipient: a@x.example\nAction: failed\n\nFinal-Recipient: b@x.example\n"
)]
fn recipients_are_separated_by_their_fields(#[case] text: &str) {
    assert_eq!(addresses(text), ["a@x.example", "b@x.example"]);
}

#[test]
fn fields_about_the_message_are_no_recipient() {
    let text = "Reporting-MTA: dns; mx.example\nOriginal-Envelope-Id: 1\n\nX-Extra: 1\n\n";
    assert!(parse(text).is_empty());
    assert!(parse("").is_empty());
}

#[test]
fn action_without_recipient_has_no_address() {
    assert_eq!(addresses("Action: failed\nStatus: 5.1.1\n"), ["-"]);
}

#[test]
fn original_recipient_precedes_the_final_one() {
    let final_recipient = "Final-Recipient: rfc822; b@x.example\nAction: failed\n";
    let original = "Original-Recipient: rfc822; a@x.example\n";
    assert_eq!(
        addresses(&(original.to_owned() + final_recipient)),
        ["a@x.example"]
    );
    let unusable = "Original-Recipient: rfc822;\n";
    assert_eq!(
        addresses(&(unusable.to_owned() + final_recipient)),
        ["b@x.example"]
    );
}
