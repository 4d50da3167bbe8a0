//! A marker in every field and header of every request: no log line, span, metric or error contains
//! it, at the finest log level.

mod calls;
mod collector;
mod erasure;
mod known;

use std::{cell::Cell, fmt::Write as _, path::Path};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use contact_service::api::auth::Scope;
use prost::Message;
use reqwest::Client;
use rstest::rstest;

use self::{
    calls::{Caller, SERVICE, filled, methods, variants},
    collector::Collector,
    known::{Known, unknown},
};
use crate::process::{Backend, Sandbox, channel, free_address};

/// The marker of texts, in any case.
const WORD: &str = "zq7k";
/// The marker of phone numbers.
const DIGITS: &str = "7215550";
/// The marker of ids that the test generates.
const HEX: &str = "ca9a71e5";

const NUMBER: &str = "zq7k-customer-number";
/// All RPCs except [`LAST`], in an order in which each succeeds.
const CALL_SEQUENCE: &[&str] = &[
    "UpdateOrderType",
    "UpdateOrderType",
    "ListOrderTypes",
    "UpdateCustomer",
    "GetCustomer",
    "SetAttentionLine",
    "ReviewContacts",
    "MarkContactsReviewed",
    "CreateContact",
    "InspectEmailConfirmation",
    "ConfirmEmail",
    "GetContact",
    "ListContacts",
    "UpdateContact",
    "ChangeEmail",
    "ResendEmailConfirmation",
    "CancelEmailChange",
    "VerifyContactChannel",
    "FindCustomers",
    "SetPhonePassword",
    "CheckPhonePassword",
    "UnlockPhonePassword",
    "AuthorizePhoneOrder",
    "RecordPhoneOrderOutcome",
    "GetPhoneOrder",
    "ListPhoneOrders",
    "SendOneTimeCode",
    "CreateOneTimeCode",
    "CheckOneTimeCode",
    "ClearPhonePassword",
    "ResolveRecipients",
    "BatchResolveRecipients",
    "StreamRecipients",
    "ReportDeliveries",
    "RemoveEmail",
    "CreateContact",
    "DeleteContact",
    "ListAuditEvents",
    "WatchChanges",
    "ExportCustomer",
];
const LAST: &str = "EraseCustomer";
/// The headers of every request.
const HEADERS: &[(&str, &str)] = &[
    ("user-agent", "zq7k-agent/1.0 (Zq7k)"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("tracestate", "zq7k=zq7k-state"),
    ("baggage", "zq7k=zq7k-baggage"),
    ("x-request-id", "zq7k-request"),
    ("x-zq7k", "zq7k-unknown"),
    ("x-zq7k-bin", "enE3ay1iaW4"),
    ("x-forwarded-for", "zq7k-address"),
    ("cookie", "zq7k=zq7k-cookie"),
];
const OK: i32 = 0;

impl Caller {
    /// Sends valid requests of every RPC.
    async fn succeed(&mut self, sandbox: &Path) -> Known {
        let mut known = Known::default();
        self.call_sequence(CALL_SEQUENCE, &mut known, sandbox).await;
        for method in methods() {
            let is_known = CALL_SEQUENCE.contains(&method.name()) || method.name() == LAST;
            assert!(is_known, "{} is new", method.name());
        }
        known
    }

    /// Sends valid requests of these RPCs.
    async fn call_sequence(&mut self, sequence: &[&str], known: &mut Known, sandbox: &Path) {
        let methods = methods();
        for (nth, rpc) in sequence.iter().enumerate() {
            let method = methods.iter().find(|method| method.name() == *rpc);
            let method = method.unwrap_or_else(|| panic!("there is no {rpc}"));
            // A generated phone password is replaced by a chosen one.
            for variant in (0..variants(&method.input())).rev() {
                let request = filled(&method.input(), variant, &|field| match (*rpc, field) {
                    // Another type, which restrictions deny.
                    ("UpdateOrderType", "code") if nth == 0 => {
                        known.valid_value("denied_order_types")
                    }
                    ("CheckOneTimeCode", "code") => known.one_time_code.clone(),
                    ("ChangeEmail", "email") => {
                        known.valid_value(field).replace("-email@", "-new@")
                    }
                    _ => known.valid_value(field),
                });
                let answer = self.call_rpc(method, &request).await;
                let is_fine = answer.status == OK;
                assert!(is_fine, "{rpc} {request:?}: {}", answer.observed);
                if answer.status == OK {
                    known.learn(rpc, &answer, sandbox);
                }
                if *rpc == "GetContact" {
                    let sent = String::from_utf8_lossy(&answer.messages[0]);
                    let number = known.valid_value("phone_numbers").replace(' ', "");
                    let name = known.valid_value("display_name");
                    assert!(sent.contains(&name) && sent.contains(&number), "{sent}");
                }
            }
        }
    }

    /// Sends requests of every RPC with values that are not on file, and with each field malformed in
    /// turn.
    async fn fail(&mut self, known: &Known) {
        for method in methods() {
            let input = method.input();
            for variant in 0..variants(&input) {
                let request = filled(&input, variant, &|field| unknown(field, known));
                self.call_rpc(&method, &request).await;
                let count = Cell::new(0);
                let spoil = |nth: usize, bad: &dyn Fn(&str) -> String| {
                    count.set(0);
                    filled(&input, variant, &|field| {
                        let this = count.replace(count.get() + 1);
                        if this == nth {
                            bad(field)
                        } else {
                            known.valid_value(field)
                        }
                    })
                };
                let _counted = spoil(usize::MAX, &str::to_owned);
                for nth in 0..count.get() {
                    for request in [
                        spoil(nth, &|field| unknown(field, known)),
                        spoil(nth, &|field| format!("zq7k-{field} <\"@'>")),
                        spoil(nth, &|field| format!("\u{1}zq7k-{field}")),
                        spoil(nth, &|field| format!("zq7k-{field}-").repeat(100)),
                    ] {
                        self.call_rpc(&method, &request).await;
                    }
                }
            }
            let path = format!("{SERVICE}/{}", method.name());
            self.call(&path, &[], b"\x0a\xffzq7k").await;
        }
    }

    /// Sends requests with malformed headers, paths and frames.
    async fn fail_headers(&mut self, known: &Known) {
        let methods = methods();
        let method = methods.iter().find(|method| method.name() == "GetContact");
        let path = format!("{SERVICE}/GetContact");
        let request = filled(&method.unwrap().input(), 0, &|field| {
            known.valid_value(field)
        });
        let request = request.encode_to_vec();
        let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
        let forged = format!(
            "Bearer {}.{}.zq7k",
            part(r#"{"alg":"ES256","typ":"JWT","kid":"a-key"}"#),
            part(r#"{"sub":"zq7k-sub","iss":"an-issuer","scope":"zq7k"}"#),
        );
        let spoiled: [(&str, &[u8]); 11] = [
            ("authorization", b"Bearer zq7k-token"),
            ("authorization", b"zq7k-token"),
            ("authorization", b"Basic enE3azp6cTdr"),
            ("authorization", b"Bearer \xffzq7k"),
            ("authorization", forged.as_bytes()),
            ("traceparent", b"00-zq7k-b7ad6b7169203331-01"),
            ("traceparent", b"zq7k-\xff"),
            ("grpc-timeout", b"zq7k"),
            ("grpc-encoding", b"zq7k"),
            ("grpc-accept-encoding", b"zq7k"),
            ("content-type", b"application/grpc+zq7k"),
        ];
        for header in spoiled {
            self.call(&path, &[header], &request).await;
        }
        for path in [format!("{SERVICE}/Zq7k"), "zq7k.Service/Zq7k".into()] {
            self.call(&path, &[], &request).await;
        }
    }
}

/// Requests the confirmation page, probes and metrics.
async fn request_pages(page: &str, monitoring: &str) -> String {
    let client = Client::builder().user_agent("zq7k-agent").build().unwrap();
    let token = format!("zq7k-unknown.{}", HEX.repeat(8));
    let get = |url: String| client.get(url);
    let post = |path: &str, body: String| client.post(format!("http://{page}{path}")).body(body);
    let mut observed = String::new();
    for request in [
        get(format!("http://{page}/confirm?zq7k=zq7k")),
        get(format!("http://{page}/confirm/zq7k")),
        post("/confirm/inspect", format!("{{\"token\":\"{token}\"}}")),
        post("/confirm/press", format!("{{\"token\":\"{token}\"}}")),
        post("/confirm/press", "{\"token\":\"zq7k".into()),
        post("/confirm/press", "zq7k".repeat(1000)),
        get(format!("http://{monitoring}/readyz?zq7k")),
        get(format!("http://{monitoring}/zq7k")),
    ] {
        let request = request
            .header("content-type", "application/json")
            .header("accept-language", "zq7k")
            .header("referer", "http://zq7k.example/zq7k")
            .header("cookie", "zq7k=zq7k");
        let response = request.send().await.unwrap();
        let head = format!("{} {:?}", response.status(), response.headers());
        writeln!(observed, "{head} {}", response.text().await.unwrap()).unwrap();
    }
    observed
}

fn all_scopes() -> String {
    Scope::ALL.map(Scope::as_str).join(" ")
}

/// Returns the lines that contain a marker or a secret.
fn leaks(observed: &str, secrets: &[String]) -> Vec<String> {
    let secrets: Vec<_> = secrets.iter().map(|text| text.to_lowercase()).collect();
    let has_marker = |line: &str| {
        let line = line.to_lowercase();
        let is_in = |text: &str| line.contains(text);
        [WORD, DIGITS, HEX].into_iter().any(is_in) || secrets.iter().any(|text| is_in(text))
    };
    let lines = observed.lines().filter(|line| has_marker(line));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_marker_is_heard() {
    let secrets = ["Ab.Cd".to_owned()];
    for line in [
        "name=\"ZQ7K name\"",
        "+4972155500 1 and +49721555001",
        "id=CA9A71E5-0000-7000-8000-000000000001",
        "grant: ab.cd",
    ] {
        assert_eq!(leaks(&format!("first\n{line}\nlast"), &secrets), [line]);
    }
}

/// All output of the service about the requests.
struct Observed {
    logs: String,
    spans: String,
    metrics: String,
    page: String,
    /// Status, headers and errors by the path of the RPC.
    answers: Vec<(String, String)>,
    /// Secrets of responses, which must not be logged either.
    secrets: Vec<String>,
}

async fn observe_all(sandbox: Sandbox) -> Observed {
    let (collector, collector_url) = Collector::start().await;
    let (page, monitoring) = (free_address(), free_address());
    let sandbox = sandbox
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("HTTP_ADDR", &page)
        .with("METRICS_ADDR", &monitoring)
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", collector_url)
        .with("PHONE_PASSWORD_COST", "m=8192,t=1,p=1")
        .with("RUST_LOG", "trace");
    sandbox.run(&["migrate", "up"]).printed();
    let (server, address) = sandbox.serve(&[]);
    let mint = |further: &[&str]| {
        let arguments = [&["token", "--sub", "zq7k-sub", "--scope"], further].concat();
        sandbox.run(&arguments).printed().trim().to_owned()
    };
    let tokens = [
        mint(&[&all_scopes()]),
        mint(&["zq7k"]),
        mint(&[&all_scopes(), "--customer", "zq7k-other"]),
    ];
    let mut caller = Caller {
        channel: channel(&address),
        token: tokens[0].clone(),
        headers: HEADERS,
        observed: Vec::new(),
    };
    let mut known = caller.succeed(sandbox.path()).await;
    caller.fail(&known).await;
    for token in &tokens {
        caller.token.clone_from(token);
        caller.fail_headers(&known).await;
    }
    caller.token.clone_from(&tokens[0]);
    caller
        .call_sequence(&[LAST], &mut known, sandbox.path())
        .await;
    let page = request_pages(&page, &monitoring).await;
    let metrics = reqwest::get(format!("http://{monitoring}/metrics")).await;
    let metrics = metrics.and_then(reqwest::Response::error_for_status);
    let metrics = metrics.unwrap().text().await.unwrap();
    server.signal("TERM");
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    known.secrets.extend(tokens);
    Observed {
        logs: ended.stdout + &ended.stderr,
        spans: collector.received(),
        metrics,
        page,
        answers: caller.observed,
        secrets: known.secrets,
    }
}

#[rstest]
#[case::as_text(Backend::Sqlite, "text")]
#[case::as_json(Backend::Postgres, "json")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_leak_into_no_log_span_metric_or_error(
    #[case] backend: Backend,
    #[case] log_format: &str,
) {
    let sandbox = Sandbox::on(backend).await;
    let observed = observe_all(sandbox.with("LOG_FORMAT", log_format)).await;
    // Each output was collected.
    let answers: String = observed
        .answers
        .iter()
        .map(|(_, observed)| observed.as_str())
        .collect();
    for (observed, seen) in [
        (&observed.logs, "CreateContact"),
        (&observed.logs, "INVALID_FIELD"),
        (&observed.logs, "mail sent"),
        (&observed.spans, "contact.v1.ContactService/CreateContact"),
        (&observed.metrics, "contact.v1.ContactService/CreateContact"),
        (&observed.metrics, "reason=\"INVALID_FIELD\""),
        (&observed.page, "unknown"),
        (&answers, "INVALID_FIELD"),
        (&answers, "CONTACT_NOT_FOUND"),
        (&answers, "GRANT_INVALID"),
        (&answers, "ETAG_MISMATCH"),
        (&answers, "INVALID_PAGE_TOKEN"),
        (&answers, "CONFIRMATION_NOT_FOUND"),
        (&answers, "TOKEN_INVALID"),
        (&answers, "SCOPE_MISSING"),
        (&answers, "CUSTOMER_MISMATCH"),
    ] {
        assert!(observed.contains(seen), "no {seen}");
    }
    // Security lines alone name the subject, and nothing else of the token or request.
    let (security, mut logs): (Vec<_>, Vec<_>) =
        (observed.logs.lines()).partition(|line| line.contains("contact_service::security"));
    let security = security.join("\n");
    assert!(security.contains("zq7k-sub"));
    let security = security.replace("zq7k-sub", "");
    logs.push(&security);
    let logs = logs.join("\n");
    let others = [
        ("logs", &logs),
        ("spans", &observed.spans),
        ("metrics", &observed.metrics),
        ("page", &observed.page),
    ];
    let (answers, secrets) = (observed.answers.iter(), observed.secrets.clone());
    let all = answers
        .map(|(path, observed)| (path.as_str(), observed))
        .chain(others);
    let singing: Vec<_> = all
        .flat_map(|(what, observed)| {
            let lines = leaks(observed, &secrets).into_iter();
            lines.map(move |line| format!("{what}: {line}"))
        })
        .collect();
    assert!(singing.is_empty(), "\n{}\n", singing.join("\n"));
}
