//! `call`: one RPC of a running server, from the command line.

use std::process::Command;

use rstest::rstest;

use crate::process::{Ended, Running, Sandbox, free_address};

/// Starts the demo; `serves_json` is `HTTP_JSON`.
fn demo(serves_json: &str) -> (Sandbox, Running, String) {
    let sandbox = Sandbox::new()
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("HTTP_JSON", serves_json);
    let (server, address) = sandbox.serve(&["serve", "--demo"]);
    (sandbox, server, address)
}

fn call(sandbox: &Sandbox, address: &str, arguments: &[&str]) -> Ended {
    let url = format!("http://{address}");
    sandbox.run(&[&["call", "--server", &url], arguments].concat())
}

#[rstest]
#[case::of_the_server("on")]
#[case::without_json_over_http("off")]
fn calls_need_no_token_next_to_the_server(#[case] serves_json: &str) {
    let (sandbox, _server, address) = demo(serves_json);
    let arguments = ["GetCustomer", r#"{"customer_number":"K-1003"}"#];
    let printed = call(&sandbox, &address, &arguments).printed();
    assert!(
        printed.contains("\n    \"customerNumber\": \"K-1003\""),
        "{printed}"
    );
}

#[test]
fn messages_of_a_stream_are_lines() {
    let (sandbox, _server, address) = demo("on");
    let request = r#"{"purpose":"PURPOSE_INVOICE","customer_numbers":["K-1001"]}
        {"purpose":"PURPOSE_OUTAGE","customer_numbers":["K-1002","K-1003"]}"#;
    let printed = call(&sandbox, &address, &["StreamRecipients", request]).printed();
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with('{')), "{printed}");
    for number in ["K-1001", "K-1002", "K-1003"] {
        assert!(printed.contains(number), "{printed}");
    }
}

#[test]
fn closed_output_ends_the_call() {
    let (sandbox, _server, address) = demo("on");
    let message = r#"{"purpose":"PURPOSE_INVOICE","customer_numbers":["K-1001"]}"#.repeat(2_000);
    let requests = sandbox.path().join("requests");
    std::fs::write(&requests, message).unwrap();
    let script = format!(
        "set -o pipefail; '{}' call StreamRecipients - --server http://{address} < '{}' | head -n 1",
        env!("CARGO_BIN_EXE_contact-service"),
        requests.display()
    );
    let ended = Command::new("bash")
        .args(["-c", &script])
        .current_dir(sandbox.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && errors.is_empty(), "{errors}");
}

#[rstest]
#[case::rejected(
    &["GetCustomer", r#"{"customer_number":"K-1"}"#],
    "NOT_FOUND (CUSTOMER_NOT_FOUND): there is no customer with this customer_number"
)]
#[case::invalid(&["GetCustomer"], "INVALID_ARGUMENT (INVALID_FIELD): customer_number must have 1 to 32")]
#[case::misspelt(
    &["GetCustomer", r#"{"customer":"K-1"}"#],
    "customer is not a field of this message"
)]
#[case::no_json(&["GetCustomer", "K-1"], "request is not valid JSON at line 1, column 1")]
#[case::unknown(&["Nonsense"], "RPC: no RPC has the name Nonsense: see contact-service call --list")]
#[case::token(
    &["GetCustomer", "{}", "--token", "x"],
    "UNAUTHENTICATED (TOKEN_INVALID): authorization: must be Bearer"
)]
fn failure_is_one_line(#[case] arguments: &[&str], #[case] expected: &str) {
    let (sandbox, _server, address) = demo("on");
    let line = call(&sandbox, &address, arguments).error_line();
    assert!(line.contains(expected), "{line}");
}

#[test]
fn absent_server_and_absent_key_are_named() {
    let address = free_address();
    let without_server = Sandbox::new().with_keys();
    let line = call(&without_server, &address, &["GetCustomer"]).error_line();
    assert!(
        line.contains(&format!("http://{address} cannot be reached")),
        "{line}"
    );
    let without_key = call(&Sandbox::new(), &address, &["GetCustomer"]).error_line();
    assert!(
        without_key.contains("CONTACT_SERVICE_TOKEN: is not set"),
        "{without_key}"
    );
}

#[test]
fn list_names_rpcs_scopes_and_fields() {
    let printed = Sandbox::new().run(&["call", "--list"]).printed();
    let get_customer = printed
        .lines()
        .find(|line| line.starts_with("GetCustomer "));
    let words: Vec<_> = get_customer.unwrap().split_whitespace().collect();
    assert_eq!(words, ["GetCustomer", "customers.read", "customer_number"]);
    assert_eq!(printed.lines().count(), 39);
}
