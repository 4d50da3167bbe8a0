//! `keys status`: versions, what needs them, and no key.

use std::{fs, process::Command};

use contact_service::api::proto::{self, set_phone_password_request::Source};
use rstest::rstest;

use crate::{
    drills::{create_contact, keys, write},
    process::{Backend, Client, Sandbox, client},
};

const SCOPES: &str = "customers.write contact_data.write contacts.write privacy.erase";

async fn with_keys(backend: Backend) -> Sandbox {
    Sandbox::migrated_on(backend)
        .await
        .with("PHONE_PASSWORD_COST", "m=8192,t=1,p=1")
        .with("PHONE_PEPPER", keys(&[1]))
        .with("SERVICE_KEYS", keys(&[1]))
}

/// Returns the lines of the status, and the exit code.
fn status(sandbox: &Sandbox) -> (Vec<String>, i32) {
    let ended = sandbox.run(&["keys", "status"]);
    assert_eq!(ended.stderr, "");
    for key in [keys(&[1]), keys(&[2])] {
        let (_, secret) = key.split_once(':').unwrap();
        assert!(!ended.stdout.contains(secret), "{}", ended.stdout);
    }
    let lines = ended.stdout.lines().map(str::trim).map(str::to_owned);
    (lines.collect(), ended.status.code().unwrap())
}

fn assert_line(lines: &[String], start: &str) {
    assert!(
        lines.iter().any(|line| line.starts_with(start)),
        "{start}: {lines:#?}"
    );
}

/// Puts a customer on file that has a phone password, and erases another one.
async fn use_keys(client: &mut Client) {
    for number in ["K-1", "K-2"] {
        write(client, number, "+4972191374001").await.unwrap();
    }
    let contact = create_contact(client, "K-1", "Anna Schmidt").await;
    let request = proto::SetPhonePasswordRequest {
        customer_number: "K-1".into(),
        contact_id: contact.contact_id,
        source: Some(Source::PhonePassword("Roter Dachs 7".into())),
        ..proto::SetPhonePasswordRequest::default()
    };
    client.set_phone_password(request).await.unwrap();
    let request = proto::EraseCustomerRequest {
        customer_number: "K-2".into(),
        confirm_customer_number: "K-2".into(),
    };
    client.erase_customer(request).await.unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_what_needs_each_version(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = with_keys(backend).await;
    let (server, address) = sandbox.serve(&[]);
    let minted = sandbox.run(&["token", "--sub", "tester", "--scope", SCOPES]);
    use_keys(&mut client(&address, &minted.printed())).await;
    server.signal("TERM");
    server.wait();

    let sealed = "1 numbers of erased customers in the change feed";
    let (lines, code) = status(&sandbox);
    assert_eq!(code, 0, "{lines:#?}");
    assert_line(&lines, &format!("version 1: in use; {sealed}"));
    assert_line(&lines, "version 1: in use; 1 phone passwords");
    assert_line(&lines, "key id ");
    assert_line(&lines, "not set: gRPC is served without TLS");

    let rotated = sandbox
        .with("PHONE_PEPPER", keys(&[2, 1]))
        .with("SERVICE_KEYS", keys(&[2, 1]));
    let (lines, code) = status(&rotated);
    assert_eq!(code, 0, "{lines:#?}");
    assert_line(&lines, &format!("version 1: must stay: needed by {sealed}"));
    assert_line(&lines, "version 1: must stay: needed by 1 phone passwords");
    assert_eq!(
        lines
            .iter()
            .filter(|line| *line == "version 2: in use")
            .count(),
        2
    );

    let removed = rotated
        .with("PHONE_PEPPER", keys(&[2]))
        .with("SERVICE_KEYS", keys(&[2]));
    let (lines, code) = status(&removed);
    assert_eq!(code, 1, "{lines:#?}");
    assert_line(&lines, &format!("version 1: MISSING: needed by {sealed}"));
    assert_line(&lines, "version 1: MISSING: needed by 1 phone passwords");
}

#[rstest]
#[tokio::test]
async fn status_lets_unneeded_versions_go(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = with_keys(backend)
        .await
        .with("PHONE_PEPPER", keys(&[2, 1]))
        .with("SERVICE_KEYS", keys(&[2, 1]));
    let (lines, code) = status(&sandbox);
    assert_eq!(code, 0, "{lines:#?}");
    assert_line(&lines, "version 1: no phone password needs it: it may go");
    assert_line(
        &lines,
        "version 1: no counted row needs it: it may go 30 days after",
    );
}

#[tokio::test]
async fn status_shows_the_expiry_of_the_certificate() {
    let sandbox = with_keys(Backend::Sqlite).await;
    let folder = sandbox.path().to_owned();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args([
            "-nodes", "-subj", "/CN=x", "-days", "30", "-keyout", "key.pem", "-out", "cert.pem",
        ])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(made.status.success());
    let sandbox = sandbox
        .with("TLS_CERT", folder.join("cert.pem").to_str().unwrap())
        .with("TLS_KEY", folder.join("key.pem").to_str().unwrap());
    let (lines, code) = status(&sandbox);
    assert_eq!(code, 0, "{lines:#?}");
    let line = lines
        .iter()
        .find(|line| line.starts_with("expires "))
        .unwrap();
    assert!(line.contains(" in 29 days"), "{line}");
    let key = fs::read_to_string(folder.join("key.pem")).unwrap();
    assert!(lines.iter().all(|line| !key.contains(line.as_str())));
}
