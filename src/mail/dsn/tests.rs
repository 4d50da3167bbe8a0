//! Reads the messages of `tests/bounces`. `expected.tsv` lists their outcomes, one line per recipient:
//! customer, contact, address, status, code and time, or the reason.

mod attribution;
mod limits;

use std::{collections::BTreeMap, fs, path::PathBuf};

use chrono::SecondsFormat;

use super::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/bounces")
}

/// Returns all messages by their names.
fn messages() -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let messages = files.filter(|path| path.extension().is_some_and(|suffix| suffix == "eml"));
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    messages
        .map(|path| (name(&path), fs::read(&path).unwrap()))
        .collect()
}

/// Returns the expected outcomes by the names of the messages.
fn expected() -> BTreeMap<String, Vec<String>> {
    let table = fs::read_to_string(folder().join("expected.tsv")).unwrap();
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let (name, outcome) = line.split_once('\t').unwrap();
        expected
            .entry(name.to_owned())
            .or_default()
            .push(outcome.to_owned());
    }
    expected
}

fn bounce_address() -> BounceAddress {
    BounceAddress::parse("bounces@sender.example").unwrap()
}

/// Returns the outcomes in the form of the table.
fn outcomes(message: &[u8]) -> Vec<String> {
    let outcomes = read(message, Some(&bounce_address()));
    outcomes.iter().map(describe).collect()
}

fn describe(outcome: &Result<BounceReport, Unattributed>) -> String {
    let report = match outcome {
        Ok(report) => report,
        Err(reason) => return format!("{reason:?}"),
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let time = report
        .report_time
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    [
        report.customer_number.as_str().to_owned(),
        or_dash(report.contact_id.map(|id| id.0.to_string())),
        report.email.as_str().to_owned(),
        format!("{:?}", report.status),
        or_dash(report.enhanced_status.map(|status| status.to_string())),
        or_dash(time),
    ]
    .join("\t")
}

fn with_crlf(message: &[u8]) -> Vec<u8> {
    let lines = message.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.collect::<Vec<_>>().join(b"\r\n".as_slice())
}

#[test]
fn rule_32_every_message_has_its_expected_outcomes() {
    let expected = expected();
    let messages = messages();
    assert_eq!(
        messages.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (name, message) in &messages {
        assert_eq!(outcomes(message), expected[name], "{name}");
    }
}

#[test]
fn line_ends_do_not_change_the_outcome() {
    let expected = expected();
    for (name, message) in messages() {
        assert_eq!(outcomes(&with_crlf(&message)), expected[&name], "{name}");
    }
}

/// An mbox file begins with a line that is no header, and some folders with a blank line.
#[test]
fn lines_before_the_header_do_not_change_the_outcome() {
    let expected = expected();
    for (name, message) in messages() {
        if message.is_empty() {
            continue;
        }
        for prefix in ["\r\n\n", "From MAILER-DAEMON Mon Mar  2 08:15:04 2026\n"] {
            let message = [prefix.as_bytes(), message.as_slice()].concat();
            assert_eq!(outcomes(&message), expected[&name], "{name}");
        }
    }
}

#[test]
fn reasons_are_sentences_for_a_terminal() {
    use Unattributed as Reason;
    for reason in [
        Reason::NotABounce,
        Reason::NoCustomer,
        Reason::Conflict,
        Reason::NoRecipient,
        Reason::NoStatus,
    ] {
        let text = reason.to_string();
        assert!(text.contains(": ") && !text.contains('\n'), "{text}");
    }
}

#[test]
fn debug_output_hides_the_address() {
    let message = &messages()["postfix.eml"];
    let outcomes = read(message, Some(&bounce_address()));
    assert!(!format!("{outcomes:?}").contains("anna"));
}
