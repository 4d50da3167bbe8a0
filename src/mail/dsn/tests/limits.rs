//! Hostile, broken and large messages.

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

use super::*;

const MEBIBYTE: usize = 1024 * 1024;

fn recipients(count: usize) -> String {
    let group =
        |n| format!("Final-Recipient: rfc822; r{n}@example.com\nAction: failed\nStatus: 5.1.1\n\n");
    (0..count).map(group).collect()
}

fn report(status: &str, returned: &str) -> String {
    format!(
        "To: bounces+K-1@sender.example\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n{status}\
         --b\nContent-Type: message/rfc822\n\n{returned}\n--b--\n"
    )
}

#[test]
fn each_of_fifty_recipients_has_an_entry() {
    let outcomes = outcomes(report(&recipients(50), "").as_bytes());
    assert_eq!(outcomes.len(), 50);
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(
            *outcome,
            format!("K-1\t-\tr{n}@example.com\tFailedPermanently\t5.1.1\t-")
        );
    }
}

#[test]
fn large_returned_message_is_not_read_to_its_end() {
    let body = "Subject: large\n\n".to_owned() + &"0123456789abcdef\n".repeat(10 * MEBIBYTE / 17);
    let outcomes = outcomes(report(&recipients(1), &body).as_bytes());
    assert_eq!(
        outcomes,
        ["K-1\t-\tr0@example.com\tFailedPermanently\t5.1.1\t-"]
    );
}

#[test]
fn recipients_after_the_first_mebibyte_are_not_read() {
    let outcomes = outcomes(report(&recipients(10 * MEBIBYTE / 70), "").as_bytes());
    let maximum = MEBIBYTE / recipients(1).len();
    assert!(
        (maximum / 2..=maximum).contains(&outcomes.len()),
        "{}",
        outcomes.len()
    );
}

/// Opens and closes multiparts around a text.
fn nested_multiparts(depth: usize, inner: &str) -> String {
    let open = |n| format!("Content-Type: multipart/mixed; boundary=n{n}x\n\n--n{n}x\n");
    let close = |n| format!("\n--n{n}x--\n");
    let opened: String = (0..depth).map(open).collect();
    let closed: String = (0..depth).rev().map(close).collect();
    format!("To: bounces+K-1@sender.example\n{opened}{inner}{closed}")
}

#[test]
fn report_within_a_hundred_multiparts_is_read() {
    let status = "Content-Type: message/delivery-status\n\n".to_owned() + &recipients(1);
    let outcomes = outcomes(nested_multiparts(100, &status).as_bytes());
    assert_eq!(
        outcomes,
        ["K-1\t-\tr0@example.com\tFailedPermanently\t5.1.1\t-"]
    );
}

#[test]
fn parts_at_a_greater_depth_are_not_read() {
    let status = "Content-Type: message/delivery-status\n\n".to_owned() + &recipients(1);
    assert_eq!(
        outcomes(nested_multiparts(300, &status).as_bytes()),
        ["NotABounce"]
    );
    assert_eq!(
        outcomes(nested_multiparts(20_000, "").as_bytes()),
        ["NotABounce"]
    );
}

#[test]
fn messages_nested_thousands_of_times_are_read() {
    let header = "Content-Type: message/rfc822\n\n";
    let encoded = "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n".to_owned()
        + &BASE64_STANDARD.encode(header.repeat(20_000));
    for returned in [header.repeat(30_000), encoded] {
        let outcomes = outcomes(report(&recipients(1), &returned).as_bytes());
        assert_eq!(
            outcomes,
            ["K-1\t-\tr0@example.com\tFailedPermanently\t5.1.1\t-"]
        );
    }
}

/// Each takes a fraction of a second, and more than ten where the effort is quadratic.
#[test]
fn floods_of_a_structure_are_read() {
    for (start, piece) in [
        ("", "\n"),
        ("", "a:\n"),
        ("", " "),
        ("Content-Type: text/plain", "; a*1=x"),
        (
            "Content-Type: multipart/digest; boundary=a\n\n",
            "--a\n\n\n",
        ),
        ("Content-Type: multipart/mixed; boundary=a\n\n", "--a\n\n"),
        (
            "Content-Type: multipart/mixed; boundary=a\n\n",
            "--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n",
        ),
        (
            "Content-Type: message/delivery-status\n\n",
            "Action: failed\n\n",
        ),
        (
            "Content-Type: message/delivery-status\n\nDiagnostic-Code:",
            "(\n ",
        ),
        (
            "Content-Type: message/delivery-status\n\nFinal-Recipient: utf-8;",
            "\\x{",
        ),
        (
            "Content-Type: message/rfc822\n\nFrom: a\n",
            "X-Customer-Number: 1\n",
        ),
        ("X-Failed-Recipients: ", "a@b.example,"),
        ("\n\nHi. This is the\n\n", "<a@b.example>:\n\n"),
        (
            "To: bounces+1@sender.example\n\nHi. This is the\n\n<a@b.example>:\n",
            "550 (#",
        ),
        ("To: ", "bounces+1@sender.example,"),
    ] {
        let count = 2 * MEBIBYTE / piece.len();
        let message = start.to_owned() + &piece.repeat(count);
        read(message.as_bytes(), Some(&bounce_address()));
    }
}

#[test]
fn truncated_messages_are_read() {
    for message in messages().values() {
        for end in (0..message.len()).step_by(5) {
            read(&message[..end], Some(&bounce_address()));
        }
    }
}

/// Fragments that change the structure of a message.
const FRAGMENTS: [&str; 14] = [
    "\n",
    "\r\n\r\n",
    "--",
    "--b--\n",
    ": ",
    ";",
    "(",
    "<",
    ">:\n",
    "\0",
    "\u{fc}",
    "=",
    "\\x{",
    "Content-Type: message/rfc822\n\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn arbitrary_bytes_are_no_bounce(bytes in vec(any::<u8>(), 0..2000)) {
        prop_assert_eq!(outcomes(&bytes), ["NotABounce"]);
    }

    #[test]
    fn mutated_messages_are_read(
        message in select(messages().into_values().collect::<Vec<_>>()),
        edits in vec((any::<Index>(), 0..40_usize, select(&FRAGMENTS[..])), 1..8),
    ) {
        let mut message = message;
        for (at, removed, inserted) in edits {
            let start = at.index(message.len() + 1);
            let end = message.len().min(start + removed);
            message.splice(start..end, inserted.bytes());
        }
        prop_assert!(!outcomes(&message).is_empty());
    }

    #[test]
    fn spliced_messages_are_read(
        first in select(messages().into_values().collect::<Vec<_>>()),
        second in select(messages().into_values().collect::<Vec<_>>()),
        cuts in any::<(Index, Index)>(),
    ) {
        let (start, end) = (cuts.0.index(first.len() + 1), cuts.1.index(second.len() + 1));
        let message = [&first[..start], &second[end..]].concat();
        prop_assert!(!outcomes(&message).is_empty());
    }
}
