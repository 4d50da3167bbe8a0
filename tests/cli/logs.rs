//! Log lines as text and as JSON, with the trace of the request. That none contains values of a request
//! is tested in `leak_markers`.

use contact_service::api::proto;
use rstest::rstest;
use serde_json::Value;
use tonic::Request;

use crate::process::{Sandbox, client};

const WARNING: &str = "spans are lost";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// Sends a successful and two failing requests, stops the server, and returns its log.
async fn written_under_trace(sandbox: &Sandbox) -> String {
    let scopes = "order_types.read customers.read";
    let arguments = ["token", "--sub", "someone", "--scope", scopes];
    let (server, address) = sandbox.serve(&[]);
    let token = sandbox.run(&arguments).printed();
    let mut known = client(&address, &token);
    let listing = known.list_order_types(proto::ListOrderTypesRequest::default());
    listing.await.unwrap();
    let traced = || {
        let mut request = Request::new(proto::GetCustomerRequest {
            customer_number: "K-1".into(),
        });
        let parent = format!("00-{TRACE_ID}-b7ad6b7169203331-01");
        let metadata = request.metadata_mut();
        metadata.insert("traceparent", parent.parse().unwrap());
        request
    };
    known.get_customer(traced()).await.unwrap_err();
    let mut unknown = client(&address, "no-token");
    unknown.get_customer(traced()).await.unwrap_err();
    server.signal("TERM");
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    ended.stdout + &ended.stderr
}

fn sandbox() -> Sandbox {
    Sandbox::new()
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("RUST_LOG", "trace")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_logs_have_a_line_per_request_and_no_colors() {
    let written = written_under_trace(&sandbox()).await;
    for seen in [
        "ListOrderTypes",
        "code=\"Ok\"",
        "CUSTOMER_NOT_FOUND",
        "TOKEN_INVALID",
        TRACE_ID,
    ] {
        assert!(written.contains(seen), "no {seen} in\n{written}");
    }
    assert!(
        !written.contains('\u{1b}'),
        "colours, though this is no terminal"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_logs_have_an_object_per_line() {
    let written = written_under_trace(&sandbox().with("LOG_FORMAT", "json")).await;
    let mut traced = 0;
    for line in written.lines() {
        let object: Value = serde_json::from_str(line).expect(line);
        for key in ["timestamp", "level", "message", "target"] {
            assert!(object.get(key).is_some_and(Value::is_string), "{line}");
        }
        traced += usize::from(object["span"]["trace_id"] == TRACE_ID);
    }
    assert!(traced >= 2, "{written}");
}

/// The exporter drops spans silently.
#[rstest]
#[case(
    "http://127.0.0.1:1",
    "collector=\"127.0.0.1:1\" cause=\"connection refused\""
)]
#[case(
    "http://u:hunter2@no-such-host.invalid:4317",
    "collector=\"no-such-host.invalid:4317\" cause=\"its name cannot be resolved: "
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unavailable_collector_is_logged_once(#[case] endpoint: &str, #[case] named: &str) {
    let sandbox = sandbox()
        .with("RUST_LOG", "info")
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .with("OTEL_BSP_SCHEDULE_DELAY", "50");
    let (mut server, address) = sandbox.serve(&[]);
    let mut unknown = client(&address, "no-token");
    let listing = proto::ListOrderTypesRequest::default;
    unknown.list_order_types(listing()).await.unwrap_err();
    server.until(|server| server.stderr().contains(WARNING));
    unknown.list_order_types(listing()).await.unwrap_err();
    server.signal("TERM");
    let log = server.wait().stderr;
    assert_eq!(log.matches(WARNING).count(), 1, "{log}");
    assert!(log.contains(named), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}
