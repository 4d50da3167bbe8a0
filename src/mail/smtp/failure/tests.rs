//! Replies of real mail servers, and what they are about.

use rstest::rstest;
use tokio::io::BufReader;

use super::*;

async fn reject(phase: Phase, text: &str) -> SendError {
    let bytes = format!("{text}\r\n");
    let reply = Reply::read(&mut BufReader::new(bytes.as_bytes())).await;
    negative_reply(phase, &reply.unwrap())
}

/// Rule 32. The texts are those of Postfix, Exim, Sendmail, Exchange Online, Gmail and others.
#[rstest]
#[case(
    "550 5.1.1 <a@b.example>: Recipient address rejected: User unknown",
    Class::Mailbox
)]
#[case(
    "550-5.1.1 The email account does not exist.\r\n550 5.1.1 Try",
    Class::Mailbox
)]
#[case("550 5.1.2 Host unknown", Class::Mailbox)]
#[case("501 5.1.3 Bad recipient address syntax", Class::Mailbox)]
#[case("551 5.1.6 Recipient has moved", Class::Mailbox)]
#[case("550 5.1.10 RESOLVER.ADR.RecipientNotFound", Class::Mailbox)]
#[case("556 5.1.10 Domain does not accept mail (nullMX)", Class::Mailbox)]
#[case("550 5.2.1 The email account is disabled", Class::Mailbox)]
#[case("550 No such user here", Class::Mailbox)]
#[case("550 relaying denied", Class::Mailbox)]
#[case("551 User not local", Class::Mailbox)]
#[case("553 Mailbox name not allowed", Class::Mailbox)]
#[case("554 Transaction failed", Class::Mailbox)]
#[case("556 Domain does not accept mail", Class::Mailbox)]
#[case("550", Class::Mailbox)]
#[case("550 5.1.0 Address rejected", Class::Other)]
#[case("553 5.1.7 Bad sender address syntax", Class::Sender)]
#[case(
    "550 5.1.8 <c@d.example>: Sender address rejected: Domain not found",
    Class::Sender
)]
#[case("552 5.2.2 Mailbox full", Class::MailboxFull)]
#[case("552 Quota exceeded", Class::MailboxFull)]
#[case("552 5.2.3 Message too large for the mailbox", Class::Content)]
#[case("552 5.3.4 Message size exceeds fixed limit", Class::Content)]
#[case("550 5.3.0 Rejected", Class::System)]
#[case("550 5.4.1 Recipient address rejected: Access denied", Class::Routing)]
#[case("554 5.4.6 Too many hops", Class::Routing)]
#[case("554 5.5.1 Error: no valid recipients", Class::Protocol)]
#[case("555 5.5.4 Unsupported option", Class::Protocol)]
#[case("555 Unsupported parameter", Class::Protocol)]
#[case("550 5.6.0 Unacceptable content", Class::Content)]
#[case(
    "554 5.7.1 <unknown[192.0.2.7]>: Client host rejected: blocked using x",
    Class::Policy
)]
#[case("554 5.7.1 <a@b.example>: Relay access denied", Class::Policy)]
#[case("550 5.7.23 SPF validation failed", Class::Policy)]
#[case("550-5.7.26 unauthenticated\r\n550 5.7.26 DMARC", Class::Policy)]
#[case("550 5.7.606 Access denied, banned sending IP", Class::Policy)]
#[case("550 5.7.510 Recipient rejects mail from this domain", Class::Policy)]
// The enhanced code contradicts the digits.
#[case("550 4.1.1 User unknown", Class::Other)]
#[case("550 2.1.5 Recipient ok", Class::Other)]
#[case("450 5.1.1 User unknown", Class::Temporary)]
#[case("450 4.7.1 Greylisted", Class::Temporary)]
#[case("421 4.3.2 Shutting down", Class::Temporary)]
#[case("452 4.2.2 Mailbox full", Class::Temporary)]
#[case("500 Command unrecognized", Class::Protocol)]
#[case("503 Bad sequence", Class::Protocol)]
#[case("521 Host does not accept mail", Class::Routing)]
#[case("530 5.7.0 Authentication required", Class::Policy)]
#[case("530 Authentication required", Class::Authentication)]
#[case("354 Go ahead", Class::Protocol)]
#[case("999 What", Class::Protocol)]
#[tokio::test]
async fn rule_32_only_mailbox_failures_mark_the_address(#[case] text: &str, #[case] class: Class) {
    for phase in [Phase::Recipient, Phase::Data, Phase::Text, Phase::EndOfData] {
        let failed = reject(phase, text).await;
        assert_eq!(failed.class, class, "{text} at {phase}");
        assert_eq!(failed.is_permanent(), class == Class::Mailbox);
    }
}

#[rstest]
#[case(Phase::Greeting, "554 5.1.1 no", Class::Policy)]
#[case(Phase::Greeting, "554 no", Class::Policy)]
#[case(Phase::Greeting, "421 busy", Class::Temporary)]
#[case(Phase::Hello, "550 5.7.1 no", Class::Policy)]
#[case(Phase::StartTls, "501 no", Class::Tls)]
#[case(Phase::StartTls, "454 later", Class::Temporary)]
#[case(
    Phase::Authentication,
    "535 5.7.8 wrong password",
    Class::Authentication
)]
#[case(Phase::Sender, "550 5.1.1 unknown sender", Class::Sender)]
#[case(Phase::Sender, "550 no", Class::Sender)]
#[case(Phase::Sender, "550 5.7.1 no", Class::Policy)]
#[tokio::test]
async fn replies_before_rcpt_are_never_about_the_mailbox(
    #[case] phase: Phase,
    #[case] text: &str,
    #[case] class: Class,
) {
    assert_eq!(reject(phase, text).await.class, class);
}

#[tokio::test]
async fn failure_text_has_only_codes_and_the_phase() {
    let failed = reject(Phase::Recipient, "550 5.1.1 <marker@example.com>").await;
    assert_eq!(failed.failure, "SMTP 550 5.1.1 at RCPT");
    let failed = reject(Phase::EndOfData, "554 marker").await;
    assert_eq!(failed.failure, "SMTP 554 at end of data");
}
