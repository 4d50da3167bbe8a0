//! Parts, boundaries and transfer encodings.

use rstest::rstest;

use super::*;

/// Returns the texts of all parts but the message itself.
fn texts(message: &str) -> Vec<String> {
    let email = Email::parse(message.as_bytes()).unwrap();
    email.parts.iter().map(Part::text).collect()
}

#[rstest]
#[case::quoted("boundary=\"b\"", "--b\n\nx\n--b\n\ny\n--b--\n")]
#[case::not_closed("boundary=b", "--b\n\nx\n--b\n\ny\n")]
#[case::padded("boundary=b", "--b  \n\nx\n--b\t\r\n\ny\n--b-- \n")]
#[case::around("boundary=b", "preamble\n--b\n\nx\n--b\n\ny\n--b--\n--b\n\nepilogue")]
#[case::longer_boundary("boundary=b", "--bb\n--b\n\nx\n--b\n\ny\n--b--\n")]
#[case::in_pieces("boundary*0=\"b\"; boundary*1=\"c\"", "--bc\n\nx\n--bc\n\ny\n--bc--\n")]
fn multipart_is_split_at_its_boundary(#[case] parameter: &str, #[case] body: &str) {
    let message = format!("Content-Type: Multipart/Mixed; {parameter}\n\n{body}");
    assert_eq!(texts(&message), ["x\n", "y\n"]);
}

#[rstest]
#[case::no_boundary("multipart/mixed", "--b\n\nx\n--b--\n")]
#[case::empty_boundary("multipart/mixed; boundary=\"\"", "text\n")]
#[case::other_boundary("multipart/mixed; boundary=c", "--b\n\nx\n--b--\n")]
#[case::not_at_the_start_of_a_line("multipart/mixed; boundary=b", "a --b\n\nx\n")]
#[case::no_multipart("text/plain; boundary=b", "--b\n\nx\n--b--\n")]
fn other_messages_have_no_parts(#[case] content_type: &str, #[case] body: &str) {
    assert_eq!(
        texts(&format!("Content-Type: {content_type}\n\n{body}")),
        [""; 0]
    );
}

/// The outer boundary also ends an inner multipart without its last line.
#[test]
fn parts_are_in_the_order_of_the_message() {
    let message = "Content-Type: multipart/mixed; boundary=a\n\n\
                   --a\nContent-Type: multipart/mixed; boundary=ab\n\n--ab\n\n1\n--ab\n\n2\n\
                   --a\n\n3\n--a--\n";
    let texts = texts(message);
    assert_eq!(texts[1..], ["1\n", "2\n", "3\n"]);
}

#[test]
fn parts_after_nested_messages_are_found() {
    let nested = "Content-Type: message/rfc822\n\n".repeat(3);
    let message =
        format!("Content-Type: multipart/mixed; boundary=a\n\n--a\n{nested}--a\n\nafter\n--a--\n");
    assert_eq!(texts(&message).last().unwrap(), "after\n");
}

#[rstest]
#[case("base64", "SGFsbG8=\n", "Hallo")]
#[case("BASE64 ", "SGFs\nbG8=", "Hallo")]
#[case("quoted-printable", "Hal=\nl=6F", "Hallo")]
#[case("8bit", "Hallo", "Hallo")]
#[case("unknown", "Hallo", "Hallo")]
#[case("base64", "H\u{e4}llo!", "H\u{e4}llo!")]
#[case("quoted-printable", "Ha=llo", "Ha=llo")]
fn text_is_decoded(#[case] encoding: &str, #[case] body: &str, #[case] expected: &str) {
    let message = format!("Content-Transfer-Encoding: {encoding}\n\n{body}");
    assert_eq!(
        Email::parse(message.as_bytes()).unwrap().root().text(),
        expected
    );
}

#[rstest]
#[case("Content-Type: text/plain; charset=utf-8\n", "text/plain")]
#[case("Content-Type: Message/RFC822\n", "message/rfc822")]
#[case("Content-Type:\n message/global\n", "message/global")]
#[case("Subject: x\n", "text/plain")]
#[case("Content-Type: text\n", "text/")]
fn media_type_is_compared_in_any_case(#[case] header: &str, #[case] expected: &str) {
    let message = format!("{header}\n");
    let email = Email::parse(message.as_bytes()).unwrap();
    assert!(email.root().is(&["x/y", expected]));
    assert!(!email.root().is(&["x/y"]));
}

#[test]
fn message_without_header_is_rejected() {
    for message in ["", "\n\n", "no header\n\ntext", ": no name\n"] {
        assert!(Email::parse(message.as_bytes()).is_none(), "{message:?}");
    }
}
