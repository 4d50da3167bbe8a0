//! `report-bounces`: a message, a Maildir, what is not attributed, and the guard against bursts.

use std::{fmt::Write as _, fs, path::PathBuf};

use rstest::rstest;

use crate::process::{Backend, Ended, Sandbox};

const BOUNCE_ADDRESS: [&str; 2] = ["--bounce-address", "bounces@sender.example"];
/// The exit code of a run with held reports.
const HELD: i32 = 4;

const ANNA: &str = "anna.schmidt@muster.example";

/// A delivery status notification of Postfix's form, sent to the bounce address of a customer.
fn bounce(number: &str, email: &str, code: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mail.example\nTo: bounces+{number}@sender.example\n\
         Date: Sat, 28 Nov 2026 08:00:00 +0000\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\n\n\
         --b\nContent-Type: text/plain\n\nThe mail could not be delivered.\n\n\
         --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mail.example\n\n\
         Final-Recipient: rfc822; {email}\nAction: failed\nStatus: {code}\n\n--b--\n"
    )
}

async fn sandbox_with_samples(backend: Backend) -> Sandbox {
    let sandbox = Sandbox::on(backend).await;
    let sandbox = sandbox.with("LISTEN_ADDR", "127.0.0.1:0");
    let (server, _) = sandbox.serve(&["serve", "--demo"]);
    server.signal("TERM");
    assert!(server.wait().status.success());
    sandbox
}

fn report(sandbox: &Sandbox, arguments: &[&str]) -> Ended {
    sandbox.run(&[&["report-bounces"], &BOUNCE_ADDRESS[..], arguments].concat())
}

fn invoice_emails(sandbox: &Sandbox) -> String {
    fs::write(sandbox.path().join("numbers"), "K-1001\n").unwrap();
    let resolved = sandbox.run(&["resolve", "numbers", "--purpose", "invoice"]);
    resolved.stdout
}

fn write_maildir(sandbox: &Sandbox) -> PathBuf {
    let maildir = sandbox.path().join("Maildir");
    for folder in ["new", "cur", "tmp"] {
        fs::create_dir_all(maildir.join(folder)).unwrap();
    }
    for (file, text) in [
        ("new/1.mail", bounce("K-1001", ANNA, "5.1.1")),
        (
            "new/2.mail",
            "Subject: hello\n\nA mail of a person.\n".to_owned(),
        ),
        (
            "cur/3.mail:2,S",
            bounce("K-1001", "other@muster.example", "5.1.1"),
        ),
        ("cur/4.mail:2,", bounce("K-0", ANNA, "5.1.1")),
        (
            "cur/5.mail:2,",
            bounce("K-1002", "emil@gross.example", "5.7.1"),
        ),
        ("tmp/6.mail", bounce("K-1003", ANNA, "5.1.1")),
    ] {
        fs::write(maildir.join(file), text).unwrap();
    }
    maildir
}

#[rstest]
#[tokio::test]
async fn maildir_is_reported_and_not_changed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let maildir = write_maildir(&sandbox);
    let anna = ANNA;
    assert!(invoice_emails(&sandbox).contains(anna));
    for _ in 0..2 {
        let ended = report(&sandbox, &["Maildir"]);
        assert!(ended.status.success(), "{}", ended.stderr);
        let rows: Vec<_> = ended.stdout.lines().collect();
        let columns =
            "file,customer_number,email,status,enhanced_status_code,report_time,result,reason";
        assert_eq!(rows[0], columns);
        let failed = "FAILED_PERMANENTLY";
        let time = "2026-11-28T08:00:00+00:00";
        let row = |file, number, email, code, result| {
            format!("{file},{number},{email},{failed},{code},{time},{result},")
        };
        assert_eq!(
            rows[1..5],
            [
                row(
                    "3.mail:2,S",
                    "K-1001",
                    "other@muster.example",
                    "5.1.1",
                    "IGNORED_NOT_CURRENT"
                )
                .replace("3.mail:2,S", "\"3.mail:2,S\""),
                row("\"4.mail:2,\"", "K-0", anna, "5.1.1", "IGNORED_NOT_CURRENT"),
                row(
                    "\"5.mail:2,\"",
                    "K-1002",
                    "emil@gross.example",
                    "5.7.1",
                    "IGNORED_NOT_MAILBOX"
                ),
                row("1.mail", "K-1001", anna, "5.1.1", "MARKED"),
            ]
        );
        assert!(
            rows[5].starts_with("2.mail,,,,,,NOT_ATTRIBUTED,message: is neither"),
            "{}",
            rows[5]
        );
        assert_eq!(rows.len(), 6);
        let numbers = "5 messages: 1 addresses marked, 0 marks removed, 0 complaints recorded, \
                       3 without effect, 1 not attributed";
        assert!(ended.stderr.contains(numbers), "{}", ended.stderr);
        assert!(!invoice_emails(&sandbox).contains(anna));
    }
    assert_eq!(fs::read_dir(maildir.join("new")).unwrap().count(), 2);
}

#[rstest]
#[tokio::test]
async fn burst_of_failures_is_held_until_it_is_explained(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = sandbox_with_samples(backend).await;
    let folder = sandbox.path().join("bounces");
    fs::create_dir(&folder).unwrap();
    for index in 0..25 {
        let text = bounce("K-1001", &format!("a{index}@muster.example"), "5.1.1");
        fs::write(folder.join(format!("{index:02}.eml")), text).unwrap();
    }
    let last = bounce("K-1001", "anna.schmidt@muster.example", "5.1.1");
    fs::write(folder.join("99.eml"), last).unwrap();
    let ended = report(&sandbox, &["bounces"]);
    assert_eq!(ended.status.code(), Some(HELD), "{}", ended.stderr);
    let held = ended.stdout.lines().filter(|row| row.ends_with(",HELD,"));
    assert_eq!(held.count(), 7);
    assert!(
        ended.stderr.contains("7 failures were held"),
        "{}",
        ended.stderr
    );
    for explained in [&["--sent", "1000"][..], &["--accept-burst"]] {
        let ended = report(&sandbox, &[&["bounces"], explained].concat());
        assert!(ended.status.success(), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("1 addresses marked"),
            "{}",
            ended.stderr
        );
    }
}

#[tokio::test]
async fn unusable_arguments_are_named() {
    let sandbox = sandbox_with_samples(Backend::Sqlite).await;
    let mut text = String::new();
    writeln!(text, "no message").unwrap();
    fs::write(sandbox.path().join("mail"), text).unwrap();
    let ended = report(&sandbox, &["missing"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.contains("missing cannot be read"),
        "{}",
        ended.stderr
    );
    let ended = sandbox.run(&[
        "report-bounces",
        "mail",
        "--bounce-address",
        "a+b@sender.example",
    ]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("without +"), "{}", ended.stderr);
    let ended = report(&sandbox, &["mail", "--output", "results.csv"]);
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.stdout.is_empty());
    let written = fs::read_to_string(sandbox.path().join("results.csv")).unwrap();
    assert!(written.contains("NOT_ATTRIBUTED"), "{written}");
}
