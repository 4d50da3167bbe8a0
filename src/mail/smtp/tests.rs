//! Dialogues with servers of every kind, in virtual time.

mod server;

use std::time::Duration;

use rstest::rstest;

use self::server::{Dialogue, Say, Server, TEXT, converse, converse_with};
use crate::observability::metrics::RejectionClass as Class;

/// The commands for a mail to a server that accepts it.
const COMMANDS: [&str; 4] = [
    "EHLO contact.example",
    "MAIL FROM:<service@example.com>",
    "RCPT TO:<anna@example.com>",
    "DATA",
];

fn failure(outcome: &Dialogue) -> (&str, Class) {
    let send_error = outcome.verdict.as_ref().unwrap_err();
    (send_error.failure.as_str(), send_error.class)
}

#[tokio::test(start_paused = true)]
async fn mail_is_sent_with_its_leading_dots_doubled() {
    let outcome = converse(Server::default()).await;
    assert_eq!(outcome.verdict, Ok(()));
    assert_eq!(outcome.commands, COMMANDS);
    assert_eq!(outcome.text, TEXT.replace("\r\n.", "\r\n..").as_bytes());
}

#[rstest]
#[case::no_esmtp("", b"220\r\n")]
#[case::several_lines("", b"220-mx\r\n220-no spam\r\n220 mx\r\n")]
#[case::lines_without_code("", b"220-mx\r\nwelcome\r\n220 mx\r\n")]
#[case::latin_1("", b"220 mx.k\xe4se.example\r\n")]
#[case::name_alone("EHLO", b"250 mx\r\n")]
#[case::odd_keywords(
    "EHLO",
    b"250-mx\r\n250-starttls now\r\n250-AUTH=login\r\n250-\xff\r\n250 x\0y\r\n"
)]
#[case::no_text("MAIL", b"250\r\n")]
#[case::no_blank("RCPT", b"250Ok\r\n")]
#[case::forwarded("RCPT", b"251 user not local; will forward\r\n")]
#[case::not_verified("RCPT", b"252 cannot verify\r\n")]
#[case::bare_line_feed("DATA", b"354 go\n")]
#[case::other_intermediate("DATA", b"350 go\r\n")]
#[case::latin_1_verdict("text", b"250 2.0.0 f\xfcr Sie angenommen\r\n")]
#[case::closes_after_digits("text", b"250")]
#[case::other_positive("text", b"200 ok\r\n")]
#[tokio::test(start_paused = true)]
async fn unusual_replies_are_accepted(#[case] at: &'static str, #[case] reply: &'static [u8]) {
    let outcome = converse(Server::default().at(at, Say::Bytes(reply))).await;
    assert_eq!(outcome.verdict, Ok(()), "{at}");
    assert_eq!(outcome.copies, 1);
}

#[tokio::test(start_paused = true)]
async fn endless_verdict_is_accepted() {
    let line = Box::leak(
        [b"250 ".as_slice(), &vec![b'x'; 2 << 20]]
            .concat()
            .into_boxed_slice(),
    );
    let outcome = converse(Server::default().at("text", Say::Bytes(line))).await;
    assert_eq!(outcome.verdict, Ok(()));
}

#[rstest]
#[case(b"500 what\r\n")]
#[case(b"501 what\r\n")]
#[case(b"502 5.5.2 not implemented\r\n")]
#[case(b"504 what\r\n")]
#[case(b"550 what\r\n")]
#[tokio::test(start_paused = true)]
async fn helo_follows_a_rejected_ehlo(#[case] reply: &'static [u8]) {
    let outcome = converse(Server::default().at("EHLO", Say::Bytes(reply))).await;
    assert_eq!(outcome.verdict, Ok(()));
    assert_eq!(outcome.commands.get(1).unwrap(), "HELO contact.example");
}

#[rstest]
#[case("", b"554 5.7.1 no\r\n", "SMTP 554 5.7.1 at greeting", Class::Policy)]
#[case("", b"421 busy\r\n", "SMTP 421 at greeting", Class::Temporary)]
#[case("", b"HTTP/1.1 400\r\n", "no SMTP reply at greeting", Class::Protocol)]
#[case(
    "EHLO",
    b"421 4.7.0 busy\r\n",
    "SMTP 421 4.7.0 at EHLO",
    Class::Temporary
)]
#[case("EHLO", b"554 no\r\n", "SMTP 554 at EHLO", Class::Policy)]
#[case("MAIL", b"550 5.1.8 no\r\n", "SMTP 550 5.1.8 at MAIL", Class::Sender)]
#[case("MAIL", b"421 bye\r\n", "SMTP 421 at MAIL", Class::Temporary)]
#[case("RCPT", b"550 5.1.1 no\r\n", "SMTP 550 5.1.1 at RCPT", Class::Mailbox)]
#[case(
    "RCPT",
    b"550 5.1.1 Empf\xe4nger\r\n",
    "SMTP 550 5.1.1 at RCPT",
    Class::Mailbox
)]
#[case("RCPT", b"554 5.7.1 no\r\n", "SMTP 554 5.7.1 at RCPT", Class::Policy)]
#[case(
    "RCPT",
    b"450 4.7.1 later\r\n",
    "SMTP 450 4.7.1 at RCPT",
    Class::Temporary
)]
#[case("RCPT", b"421 bye\r\n", "SMTP 421 at RCPT", Class::Temporary)]
#[case("RCPT", b"354 go\r\n", "SMTP 354 at RCPT", Class::Protocol)]
#[case("DATA", b"250 ok\r\n", "SMTP 250 at DATA", Class::Protocol)]
#[case("DATA", b"421 bye\r\n", "SMTP 421 at DATA", Class::Temporary)]
#[case("text", b"421 bye\r\n", "SMTP 421 at end of data", Class::Temporary)]
#[case("text", b"354 go\r\n", "SMTP 354 at end of data", Class::Protocol)]
#[case(
    "text",
    b"550 5.7.1 spam\r\n",
    "SMTP 550 5.7.1 at end of data",
    Class::Policy
)]
#[case("text", b"554 no\r\n", "SMTP 554 at end of data", Class::Mailbox)]
#[tokio::test(start_paused = true)]
async fn failure_names_its_phase(
    #[case] at: &'static str,
    #[case] reply: &'static [u8],
    #[case] named: &str,
    #[case] class: Class,
) {
    let outcome = converse(Server::default().at(at, Say::Bytes(reply))).await;
    assert_eq!(failure(&outcome), (named, class));
}

#[rstest]
#[case("", "connection closed at greeting")]
#[case("EHLO", "connection closed at EHLO")]
#[case("MAIL", "connection closed at MAIL")]
#[case("RCPT", "connection closed at RCPT")]
#[case("DATA", "connection closed at DATA")]
#[case("text", "connection closed at end of data")]
#[tokio::test(start_paused = true)]
async fn closed_connection_is_retried(#[case] at: &'static str, #[case] named: &str) {
    let outcome = converse(Server::default().at(at, Say::Close)).await;
    assert_eq!(failure(&outcome), (named, Class::Connection));
}

/// RFC 5321, 4.5.3.2. Just below the limit the mail is sent.
#[rstest]
#[case("", 300, "timeout at greeting")]
#[case("EHLO", 300, "timeout at EHLO")]
#[case("MAIL", 300, "timeout at MAIL")]
#[case("RCPT", 300, "timeout at RCPT")]
#[case("DATA", 120, "timeout at DATA")]
#[case("text", 600, "timeout at end of data")]
#[tokio::test(start_paused = true)]
async fn each_phase_has_its_timeout(
    #[case] at: &'static str,
    #[case] seconds: u64,
    #[case] named: &str,
) {
    for (seconds, arrives) in [(seconds - 1, true), (seconds + 1, false)] {
        let server = Server::default().at(at, Say::After(Duration::from_secs(seconds)));
        let outcome = converse(server).await;
        if arrives {
            assert_eq!(outcome.verdict, Ok(()), "{at} {seconds}");
            assert_eq!(outcome.copies, 1);
        } else {
            assert_eq!(failure(&outcome), (named, Class::Connection));
        }
    }
}

#[rstest]
#[case("RCPT", true)]
#[case("text", false)]
#[tokio::test(start_paused = true)]
async fn under_load_slow_attempts_wait_only_for_the_verdict(
    #[case] at: &'static str,
    #[case] is_abandoned: bool,
) {
    let server = Server::default()
        .under_load()
        .at(at, Say::After(Duration::from_mins(4)));
    let outcome = converse(server).await;
    assert_eq!(outcome.verdict.is_err(), is_abandoned);
    assert_eq!(outcome.elapsed < Duration::from_secs(30), is_abandoned);
}

#[tokio::test(start_paused = true)]
async fn text_is_not_sent_after_the_lease() {
    let outcome = converse(Server::default().without_claim()).await;
    assert_eq!(
        failure(&outcome),
        ("lease not renewed in time", Class::Connection)
    );
    assert!(!outcome.commands.contains(&"DATA".to_owned()));
}

#[rstest]
#[case::rejected(b"454 4.7.0 TLS not available\r\n")]
#[case::not_known(b"502 what\r\n")]
#[tokio::test(start_paused = true)]
async fn rejected_starttls_is_skipped_unless_required(#[case] reply: &'static [u8]) {
    let server = || {
        Server::default()
            .at("EHLO", Say::Bytes(b"250-mx\r\n250 StartTLS\r\n"))
            .at("STARTTLS", Say::Bytes(reply))
    };
    let outcome = converse_with("smtp://127.0.0.1", server()).await;
    assert_eq!(outcome.verdict, Ok(()));
    let outcome = converse_with("smtp://127.0.0.1?tls=required", server()).await;
    let code = std::str::from_utf8(reply).unwrap().get(..3).unwrap();
    let named = format!("TLS: SMTP {code} at STARTTLS");
    assert_eq!(failure(&outcome), (named.as_str(), Class::Tls));
    let outcome = converse_with("smtp://127.0.0.1?tls=required", Server::default()).await;
    assert_eq!(
        failure(&outcome),
        ("TLS: STARTTLS is not offered", Class::Tls)
    );
}

#[rstest]
#[case::injected(b"220 go\r\n250 injected\r\n", "TLS: unencrypted bytes after STARTTLS")]
#[case::leaves(b"220 go\r\n", "TLS: connection lost in the handshake")]
#[tokio::test(start_paused = true)]
async fn bytes_after_starttls_must_be_tls(#[case] reply: &'static [u8], #[case] named: &str) {
    let server = Server::default()
        .at("EHLO", Say::Bytes(b"250-mx\r\n250 STARTTLS\r\n"))
        .at("STARTTLS", Say::Bytes(reply));
    let outcome = converse_with("smtp://127.0.0.1", server).await;
    assert_eq!(failure(&outcome), (named, Class::Tls));
    assert_eq!(outcome.copies, 0);
}

#[rstest]
#[case::plain("AUTH PLAIN", &["AUTH PLAIN AHUAcHc="])]
#[case::plain_without_response("AUTH PLAIN later", &["AUTH PLAIN AHUAcHc=", "AHUAcHc="])]
#[case::login("AUTH=LOGIN", &["AUTH LOGIN", "dQ==", "cHc="])]
#[case::both("auth cram-md5 login plain", &["AUTH PLAIN AHUAcHc="])]
#[tokio::test(start_paused = true)]
async fn login_uses_an_offered_mechanism(#[case] offered: &'static str, #[case] expected: &[&str]) {
    let server = Server::default().offering(offered);
    let outcome = converse_with("smtp://u:pw@127.0.0.1?tls=none", server).await;
    assert_eq!(outcome.verdict, Ok(()));
    let commands = outcome.commands.get(1..=expected.len()).unwrap();
    assert_eq!(commands, expected);
}

#[tokio::test(start_paused = true)]
async fn mail_requires_a_known_login_mechanism() {
    let url = "smtp://u:pw@127.0.0.1?tls=none";
    let outcome = converse_with(url, Server::default().offering("AUTH CRAM-MD5")).await;
    let named = "the server offers neither AUTH PLAIN nor AUTH LOGIN";
    assert_eq!(failure(&outcome), (named, Class::Authentication));
    let server = Server::default()
        .offering("AUTH PLAIN")
        .at("AUTH", Say::Bytes(b"535 5.7.8 no\r\n"));
    let outcome = converse_with(url, server).await;
    assert_eq!(
        failure(&outcome),
        ("SMTP 535 5.7.8 at AUTH", Class::Authentication)
    );
}

#[tokio::test(start_paused = true)]
async fn unicode_sender_requires_smtputf8() {
    let outcome = converse(Server::default().from("jörg@example.com")).await;
    assert_eq!(failure(&outcome).1, Class::Sender);
    let server = Server::default()
        .from("jörg@example.com")
        .offering("SMTPUTF8");
    let outcome = converse(server).await;
    assert_eq!(outcome.verdict, Ok(()));
    let command = "MAIL FROM:<jörg@example.com> BODY=8BITMIME SMTPUTF8";
    assert_eq!(outcome.commands.get(1).unwrap(), command);
}

#[test]
fn every_line_end_is_sent_as_crlf() {
    for (text, sent) in [
        ("", "\r\n.\r\n"),
        ("a", "a\r\n.\r\n"),
        ("a\r\n", "a\r\n.\r\n"),
        ("a\r\n\r\n", "a\r\n\r\n.\r\n"),
        (".\r\n", "..\r\n.\r\n"),
        ("a\r\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"),
        ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
        ("a\r.\rb", "a\r\n..\r\nb\r\n.\r\n"),
        ("a\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"),
        ("a\r.\r\nb", "a\r\n..\r\nb\r\n.\r\n"),
        ("a\r\n.\rb", "a\r\n..\r\nb\r\n.\r\n"),
        ("..", "...\r\n.\r\n"),
    ] {
        assert_eq!(
            super::dot_stuffed(text.as_bytes()),
            sent.as_bytes(),
            "{text:?}"
        );
    }
}
