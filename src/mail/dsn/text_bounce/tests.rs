//! The lists and reasons of text bounces.

use rstest::rstest;

use super::*;

/// Returns address and code of each entry, with dashes for none.
fn notices(text: &str) -> Option<Vec<String>> {
    let describe = |notice: Notice| {
        let address = notice
            .address
            .map_or_else(|| "-".to_owned(), |email| email.as_str().to_owned());
        let code = notice
            .enhanced_status
            .map_or_else(|| "-".to_owned(), |code| code.to_string());
        format!("{address} {code}")
    };
    let entries = entries(text)?.into_iter();
    Some(entries.map(Entry::into_notice).map(describe).collect())
}

#[rstest]
#[case("550 5.1.1 unknown", Some("5.1.1"))]
#[case("said: 550-5.1.1 unknown 550 5.7.1 blocked", Some("5.1.1"))]
#[case("(reason: 550 5.1.1 <a@x.example>... unknown)", Some("5.1.1"))]
#[case("no mailbox here. (#5.1.1)", Some("5.1.1"))]
#[case("said: 452 4.2.2 full (#5.0.0)", Some("4.2.2"))]
#[case("550 unknown 5.1.1", None)]
#[case("version 5.1.1", None)]
#[case("550", None)]
#[case("(#5.1", None)]
#[case("(#5.1.1.1)", None)]
#[case("", None)]
fn code_is_read_from_the_reply(#[case] reasons: &str, #[case] expected: Option<&str>) {
    let code = enhanced_status(reasons).map(|code| code.to_string());
    assert_eq!(code.as_deref(), expected);
}

#[test]
fn qsbmf_ends_at_the_copy_of_the_message() {
    let text = "Hi. This is the qmail-send program at mx.example.\n\n<a@x.example>:\nNo. (#5.1.1)\n\n\
                A paragraph.\n<b@x.example>:\n\n<c@x.example>\n\n-- \n\n<d@x.example>:\nNo.\n";
    assert_eq!(notices(text).unwrap(), ["a@x.example 5.1.1"]);
}

#[test]
fn exim_list_ends_at_prose_or_at_the_copy() {
    let opening = "This message was created automatically by mail delivery software.\n\n\
                   The following\naddress(es) failed:\n\n  a@x.example:\n    550 5.1.1 no\n";
    for rest in [
        "Prose.\n  b@x.example\n",
        "------ copy ------\n  b@x.example\n",
        "\n --- copy\n",
    ] {
        assert_eq!(
            notices(&(opening.to_owned() + rest)).unwrap(),
            ["a@x.example 5.1.1"],
            "{rest}"
        );
    }
}

#[rstest]
#[case("    (generated from b@x.example)", "b@x.example -")]
#[case("    (ultimately generated from b@x.example)", "b@x.example -")]
#[case("    generated from b@x.example", "b@x.example -")]
#[case("    550 generated from b@x.example", "a@x.example -")]
#[case("    (generated from |/bin/false)", "a@x.example -")]
fn address_before_an_alias_is_taken(#[case] line: &str, #[case] expected: &str) {
    let text = format!("{EXIM}.\n\nThe following address(es) failed:\n\n  a@x.example\n{line}\n");
    assert_eq!(notices(&text).unwrap(), [expected]);
}

#[test]
fn entry_without_address_has_none() {
    let text = format!("{EXIM}.\n\nThe following address(es) failed:\n\n  save to /var/mail/a\n");
    assert_eq!(notices(&text).unwrap(), ["- -"]);
    assert!(
        notices(&format!("{EXIM}.\n\nNo list.\n"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn opening_within_a_text_is_no_bounce() {
    for text in [
        "",
        "FYI\n\nHi. This is the\n",
        "> Hi. This is the\n\n<a@x.example>:\n",
    ] {
        assert!(notices(text).is_none(), "{text:?}");
    }
}
