//! Replies of any bytes.

use rstest::rstest;
use tokio::io::{AsyncWriteExt, BufReader, duplex};

use super::*;

async fn read(bytes: &[u8]) -> Result<Reply, Unreadable> {
    Reply::read(&mut BufReader::new(bytes)).await
}

#[rstest]
#[case::text(b"250 2.0.0 Ok\r\n", 250)]
#[case::no_text(b"250\r\n", 250)]
#[case::blank_without_text(b"250 \r\n", 250)]
#[case::no_blank(b"250Ok\r\n", 250)]
#[case::tab(b"250\tOk\r\n", 250)]
#[case::bare_line_feed(b"250 Ok\n", 250)]
#[case::several_lines(b"250-a\r\n250-b\r\n250 c\r\n", 250)]
#[case::bare_line_feeds(b"250-a\n250 b\n", 250)]
#[case::last_code_counts(b"250-a\r\n550 b\r\n", 550)]
#[case::line_without_code(b"220-a\r\nwelcome\r\n\r\n220 b\r\n", 220)]
#[case::blank_lines_before(b"\r\n\r\n220 a\r\n", 220)]
#[case::blanks_before(b"  220 a\r\n", 220)]
#[case::latin_1(b"550 5.1.1 Empf\xe4nger unbekannt\r\n", 550)]
#[case::invalid_utf8(b"250 \xff\xfe\x80\r\n", 250)]
#[case::utf16(b"250 \0O\0k\r\n", 250)]
#[case::nul(b"250-\0\r\n250 \0\0\r\n", 250)]
#[case::control_characters(b"250 \x1b[31m\x07\r\n", 250)]
#[case::lone_carriage_returns(b"250 a\rb\r\r\n", 250)]
#[case::no_line_end(b"250 Ok", 250)]
#[case::digits_alone(b"250", 250)]
#[case::closed_between_lines(b"250-a\r\n", 250)]
#[case::other_classes(b"199 a\r\n", 199)]
#[case::no_class(b"999 a\r\n", 999)]
#[tokio::test]
async fn code_is_read_from_the_last_line(#[case] bytes: &[u8], #[case] code: u16) {
    assert_eq!(read(bytes).await.unwrap().code, code);
}

#[rstest]
#[case::nothing(b"", Unreadable::Closed)]
#[case::one_digit(b"2", Unreadable::Closed)]
#[case::blank_lines(b"\r\n\r\n", Unreadable::Closed)]
#[case::words(b"hello\r\n", Unreadable::NotSmtp)]
#[case::two_digits(b"25 Ok\r\n", Unreadable::NotSmtp)]
#[case::http(b"HTTP/1.1 400 Bad Request\r\n", Unreadable::NotSmtp)]
#[case::tls(b"\x15\x03\x01\x00\x02\x02\x0a\n", Unreadable::NotSmtp)]
#[case::other_digits("\u{662}\u{665}\u{660} Ok\r\n".as_bytes(), Unreadable::NotSmtp)]
#[tokio::test]
async fn other_bytes_are_rejected(#[case] bytes: &[u8], #[case] why: Unreadable) {
    assert_eq!(read(bytes).await, Err(why));
}

#[tokio::test]
async fn next_reply_is_left_unread() {
    let mut reader = BufReader::new(&b"250-a\r\n250 b\r\n354 c\r\n550 d\r\n"[..]);
    for code in [250, 354, 550] {
        assert_eq!(Reply::read(&mut reader).await.unwrap().code, code);
    }
}

#[tokio::test]
async fn reply_may_arrive_byte_by_byte() {
    let (client, mut server) = duplex(1);
    let writing = tokio::spawn(async move {
        server.write_all(b"250-a\r\n250 b\r\n").await.unwrap();
        server
    });
    let reply = Reply::read(&mut BufReader::new(client)).await.unwrap();
    assert_eq!((reply.code, reply.is_cut), (250, false));
    drop(writing);
}

#[tokio::test]
async fn excess_bytes_and_lines_are_skipped() {
    let long = [b"250 ".as_slice(), &vec![b'x'; 500_000], b"\r\n354 go\r\n"].concat();
    let many = [
        b"250-x\r\n".repeat(50_000).as_slice(),
        b"250 x\r\n354 go\r\n",
    ]
    .concat();
    for bytes in [long, many] {
        let mut reader = BufReader::new(bytes.as_slice());
        let reply = Reply::read(&mut reader).await.unwrap();
        assert_eq!((reply.code, reply.is_cut), (250, false));
        assert!(reply.texts.len() <= MAX_LINES);
        assert!(reply.texts.iter().all(|text| text.len() <= MAX_LINE_BYTES));
        assert_eq!(Reply::read(&mut reader).await.unwrap().code, 354);
    }
}

#[tokio::test]
async fn endless_reply_is_cut_and_keeps_its_code() {
    let line = [b"250 ".as_slice(), &vec![b'x'; 2 * MAX_REPLY_BYTES]].concat();
    let lines = b"250-x\r\n".repeat(MAX_REPLY_BYTES);
    for bytes in [line, lines] {
        let reply = read(&bytes).await.unwrap();
        assert_eq!((reply.code, reply.is_cut), (250, true));
    }
    let no_reply = vec![b'x'; 2 * MAX_REPLY_BYTES];
    assert_eq!(read(&no_reply).await, Err(Unreadable::NotSmtp));
}

#[rstest]
#[case("550 5.1.1 unknown", Some("5.1.1"))]
#[case("550 5.1.10 unknown", Some("5.1.10"))]
#[case("550 5.7.606 banned", Some("5.7.606"))]
#[case("550 5.1.1", Some("5.1.1"))]
#[case("550 5.1.1: unknown", Some("5.1.1"))]
#[case("550 5.1.1. unknown", Some("5.1.1"))]
#[case("550 5.1.1<a@b.example> unknown", Some("5.1.1"))]
#[case("550 #5.1.1 unknown", Some("5.1.1"))]
#[case("550 [5.1.1] unknown", Some("5.1.1"))]
#[case("550 (#5.7.1) denied", Some("5.7.1"))]
#[case("550-5.1.1 unknown\r\n550 5.1.1 really", Some("5.1.1"))]
// A doubt marks no address.
#[case("550-5.1.1 unknown\r\n550 5.7.1 denied", Some("5.7.1"))]
#[case("550-5.7.1 denied\r\n550 5.1.1 unknown", Some("5.7.1"))]
#[case("550-Sorry\r\n550 5.7.1 denied", Some("5.7.1"))]
#[case("550-5.7.1 denied\r\n550 sorry", Some("5.7.1"))]
#[case("550 denied, see 5.7.1 below", Some("5.7.1"))]
#[case("550 Error: 5.7.1", Some("5.7.1"))]
#[case("550 denied (in reply to RCPT TO command, code=5.7.1)", Some("5.7.1"))]
#[case("550 Empf\u{e4}nger 5.7.1", Some("5.7.1"))]
#[case("550 4.1.1 unknown", Some("4.1.1"))]
#[case("450 4.7.1 greylisted", Some("4.7.1"))]
#[case("550 unknown", None)]
#[case("550", None)]
#[case("550 5.1.1.7 is blocked", None)]
#[case("550 192.0.2.1 is blocked", None)]
#[case("550 blocked by 5.7", None)]
#[case("550 mail server 4.7.1 says no", None)]
#[tokio::test]
async fn enhanced_code_is_found_anywhere_in_the_text(
    #[case] text: &str,
    #[case] status: Option<&str>,
) {
    let reply = read(format!("{text}\r\n").as_bytes()).await.unwrap();
    let found = reply.enhanced_status().map(|found| found.to_string());
    assert_eq!(found.as_deref(), status);
}
