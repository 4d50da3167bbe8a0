//! A canary in every field of every request, and in all that comes with one: no log line, span,
//! metric or error tells of it, at the finest level of all.

mod calls;
mod collector;
mod erasure;

use std::{
    cell::Cell,
    fmt::Write as _,
    fs,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use contact_service::api::proto;
use mail_parser::MessageParser;
use prost::{Message, bytes::Bytes};
use reqwest::Client;
use rstest::rstest;

use self::{
    calls::{Answer, Caller, SERVICE, filled, methods, variants},
    collector::Collector,
};
use crate::process::{Backend, Place, channel, free_address};

/// Stands in every text, in whatever case.
const WORD: &str = "zq7k";
/// Stands in every phone number.
const DIGITS: &str = "7215550";
/// Stands in every id that the test makes up.
const HEX: &str = "ca9a71e5";

const NUMBER: &str = "zq7k-customer-number";
const ALL_SCOPES: &str = "customers.read customers.write contact_data.write contacts.read \
    contacts.write email.confirm channels.verify phone_password.check phone_password.unlock \
    phone_orders.authorize order_types.read order_types.write recipients.resolve audit.read \
    changes.watch privacy.export privacy.erase";
/// All RPCs, in an order in which each succeeds; [`LAST`] comes when all is told.
const STORY: &[&str] = &[
    "UpdateOrderType",
    "ListOrderTypes",
    "UpdateCustomer",
    "GetCustomer",
    "SetAttentionLine",
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
    "SetPhonePassword",
    "CheckPhonePassword",
    "UnlockPhonePassword",
    "AuthorizePhoneOrder",
    "ClearPhonePassword",
    "ResolveRecipients",
    "StreamRecipients",
    "RemoveEmail",
    "CreateContact",
    "DeleteContact",
    "ListAuditEvents",
    "WatchChanges",
    "ExportCustomer",
];
const LAST: &str = "EraseCustomer";
/// What comes with every call.
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
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// What requests need to succeed, as the service told it.
#[derive(Default)]
struct Known {
    contact_ids: Vec<String>,
    link_token: String,
    grant: String,
    /// Must not be told either.
    secrets: Vec<String>,
    /// What takes the place of what, where another canary sings.
    tune: &'static [(&'static str, &'static str)],
}

impl Known {
    /// The value of a field with which a request is likely to succeed.
    fn fitting(&self, field: &str) -> String {
        let value = self.untuned(field);
        let tune = self.tune.iter();
        tune.fold(value, |value, (from, to)| value.replace(from, to))
    }

    fn untuned(&self, field: &str) -> String {
        match field {
            "customer_number" | "customer_numbers" | "confirm_customer_number" => NUMBER.into(),
            "contact_id" => self.contact_ids.last().cloned().unwrap_or_default(),
            "email" | "ordered_by_email" => "zq7k-email@zq7k-domain.example".into(),
            "phone_number" => format!("+49 {DIGITS} 01"),
            "phone_numbers" => format!("+49 {DIGITS} 02"),
            "locale" => "de".into(),
            "phone_password" => "Zq7k Dachs Kranich".into(),
            "token" => self.link_token.clone(),
            "grant" => self.grant.clone(),
            "request_id" => unused_id(),
            "code" | "order_type" | "allowed_order_types" | "denied_order_types" => {
                "zq7k-order-type".into()
            }
            "etag" | "page_token" | "cursor" => String::new(),
            "paths" => "*".into(),
            other => format!("Zq7k {other}"),
        }
    }

    fn learn(&mut self, rpc: &str, answer: &Answer, place: &Path) {
        let message = answer.messages.first();
        match rpc {
            "CreateContact" => {
                let created: proto::CreateContactResponse = decode(message);
                let id = created.contact.unwrap().contact_id;
                self.secrets.push(id.clone());
                self.contact_ids.push(id);
                if self.link_token.is_empty() {
                    self.link_token = mailed_token(place, &self.fitting("customer_number"));
                    let (_, secret) = self.link_token.split_once('.').unwrap();
                    self.secrets.push(secret.to_owned());
                }
            }
            "DeleteContact" => drop(self.contact_ids.pop()),
            "SetPhonePassword" => {
                let set: proto::SetPhonePasswordResponse = decode(message);
                let generated = Some(set.generated_phone_password);
                self.secrets
                    .extend(generated.filter(|text| !text.is_empty()));
            }
            "CheckPhonePassword" => {
                let checked: proto::CheckPhonePasswordResponse = decode(message);
                self.grant = checked.grant;
                self.secrets.push(self.grant.clone());
            }
            _ => {}
        }
    }
}

fn decode<M: Message + Default>(message: Option<&Bytes>) -> M {
    M::decode(message.unwrap().as_ref()).unwrap()
}

fn unused_id() -> String {
    static USED: AtomicU32 = AtomicU32::new(0);
    let number = USED.fetch_add(1, Ordering::Relaxed);
    format!("{HEX}-0000-7000-8000-{number:012x}")
}

/// A value of a field that names nothing on file.
fn unknown(field: &str, known: &Known) -> String {
    match field {
        "customer_number" | "customer_numbers" | "confirm_customer_number" => "zq7k-nobody".into(),
        "contact_id" => unused_id(),
        "order_type" | "code" => "zq7k-no-order-type".into(),
        "email" | "ordered_by_email" => "zq7k-nobody@zq7k-nowhere.example".into(),
        "token" => format!("zq7k-nobody.{}", HEX.repeat(8)),
        "grant" | "etag" | "page_token" | "cursor" | "request_id" => {
            format!("zq7k-{field}")
        }
        _ => known.fitting(field),
    }
}

/// The token of the link that was mailed for this customer, as soon as it was.
fn mailed_token(place: &Path, number: &str) -> String {
    let mut waited = Duration::ZERO;
    while waited < PATIENCE {
        let mails = fs::read_dir(place.join("data/mail")).into_iter().flatten();
        for mail in mails.map(|entry| fs::read(entry.unwrap().path()).unwrap()) {
            let mail = MessageParser::default().parse(&mail);
            let text = mail.and_then(|mail| Some(mail.body_text(0)?.into_owned()));
            if let Some((_, link)) = text.unwrap_or_default().split_once("/confirm#")
                && link.starts_with(number)
            {
                return link.split_whitespace().next().unwrap().to_owned();
            }
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
    panic!("no link was mailed");
}

impl Caller {
    /// Every RPC with what it takes.
    async fn succeed(&mut self, place: &Path) -> Known {
        let mut known = Known::default();
        self.tell(STORY, &mut known, place).await;
        for method in methods() {
            let is_known = STORY.contains(&method.name()) || method.name() == LAST;
            assert!(is_known, "{} is new", method.name());
        }
        known
    }

    /// These RPCs with what they take.
    async fn tell(&mut self, story: &[&str], known: &mut Known, place: &Path) {
        let methods = methods();
        for rpc in story {
            let method = methods.iter().find(|method| method.name() == *rpc);
            let method = method.unwrap_or_else(|| panic!("there is no {rpc}"));
            // A phone password that was generated is followed by a given one.
            for variant in (0..variants(&method.input())).rev() {
                let request = filled(&method.input(), variant, &|field| match (*rpc, field) {
                    ("ChangeEmail", "email") => known.fitting(field).replace("-email@", "-new@"),
                    _ => known.fitting(field),
                });
                let answer = self.call_rpc(method, &request).await;
                let is_fine = answer.status == OK;
                assert!(is_fine, "{rpc} {request:?}: {}", answer.told);
                if answer.status == OK {
                    known.learn(rpc, &answer, place);
                }
                if *rpc == "GetContact" {
                    let sent = String::from_utf8_lossy(&answer.messages[0]);
                    let number = known.fitting("phone_numbers").replace(' ', "");
                    let name = known.fitting("display_name");
                    assert!(sent.contains(&name) && sent.contains(&number), "{sent}");
                }
            }
        }
    }

    /// Every RPC with what is well-formed and not on file, and with each field spoiled in turn.
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
                            known.fitting(field)
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

    /// What surrounds a request, spoiled.
    async fn surround(&mut self, known: &Known) {
        let methods = methods();
        let method = methods.iter().find(|method| method.name() == "GetContact");
        let path = format!("{SERVICE}/GetContact");
        let request = filled(&method.unwrap().input(), 0, &|field| known.fitting(field));
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

/// What is no call of gRPC: the page for the public, and what operators ask.
async fn visit(page: &str, monitoring: &str) -> String {
    let client = Client::builder().user_agent("zq7k-agent").build().unwrap();
    let token = format!("zq7k-nobody.{}", HEX.repeat(8));
    let get = |url: String| client.get(url);
    let post = |path: &str, body: String| client.post(format!("http://{page}{path}")).body(body);
    let mut told = String::new();
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
        writeln!(told, "{head} {}", response.text().await.unwrap()).unwrap();
    }
    told
}

/// Where a canary sings, if it does.
fn heard(told: &str, secrets: &[String]) -> Vec<String> {
    let secrets: Vec<_> = secrets.iter().map(|text| text.to_lowercase()).collect();
    let sings = |line: &str| {
        let line = line.to_lowercase();
        let is_in = |text: &str| line.contains(text);
        [WORD, DIGITS, HEX].into_iter().any(is_in) || secrets.iter().any(|text| is_in(text))
    };
    let lines = told.lines().filter(|line| sings(line));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_canary_is_heard() {
    let secrets = ["Ab.Cd".to_owned()];
    for line in [
        "name=\"ZQ7K name\"",
        "+4972155500 1 and +49721555001",
        "id=CA9A71E5-0000-7000-8000-000000000001",
        "grant: ab.cd",
    ] {
        assert_eq!(heard(&format!("first\n{line}\nlast"), &secrets), [line]);
    }
}

/// Everything that the service told anybody of all these requests.
struct Told {
    logs: String,
    spans: String,
    metrics: String,
    page: String,
    /// By the path of the call.
    answers: Vec<(String, String)>,
    /// What must not be told either.
    secrets: Vec<String>,
}

async fn tell_all(place: Place) -> Told {
    let (collector, collector_url) = Collector::start().await;
    let (page, monitoring) = (free_address(), free_address());
    let place = place
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("HTTP_ADDR", &page)
        .with("METRICS_ADDR", &monitoring)
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", collector_url)
        .with("PHONE_PASSWORD_COST", "m=8192,t=1,p=1")
        .with("RUST_LOG", "trace");
    place.run(&["migrate", "up"]).printed();
    let (server, address) = place.serve(&[]);
    let mint = |further: &[&str]| {
        let arguments = [&["token", "--sub", "zq7k-sub", "--scope"], further].concat();
        place.run(&arguments).printed().trim().to_owned()
    };
    let tokens = [
        mint(&[ALL_SCOPES]),
        mint(&["zq7k"]),
        mint(&[ALL_SCOPES, "--customer", "zq7k-other"]),
    ];
    let mut caller = Caller {
        channel: channel(&address),
        token: tokens[0].clone(),
        headers: HEADERS,
        told: Vec::new(),
    };
    let mut known = caller.succeed(place.path()).await;
    caller.fail(&known).await;
    for token in &tokens {
        caller.token.clone_from(token);
        caller.surround(&known).await;
    }
    caller.token.clone_from(&tokens[0]);
    caller.tell(&[LAST], &mut known, place.path()).await;
    let page = visit(&page, &monitoring).await;
    let metrics = reqwest::get(format!("http://{monitoring}/metrics")).await;
    let metrics = metrics.and_then(reqwest::Response::error_for_status);
    let metrics = metrics.unwrap().text().await.unwrap();
    server.signal("TERM");
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    known.secrets.extend(tokens);
    Told {
        logs: ended.stdout + &ended.stderr,
        spans: collector.taken(),
        metrics,
        page,
        answers: caller.told,
        secrets: known.secrets,
    }
}

#[rstest]
#[case::as_text(Backend::Sqlite, "text")]
#[case::as_json(Backend::Postgres, "json")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_canary_is_in_a_log_a_span_a_metric_or_an_error(
    #[case] backend: Backend,
    #[case] log_format: &str,
) {
    let place = Place::on(backend).await;
    let told = tell_all(place.with("LOG_FORMAT", log_format)).await;
    // All of them were there to tell of it.
    let answers: String = told.answers.iter().map(|(_, told)| told.as_str()).collect();
    for (told, seen) in [
        (&told.logs, "CreateContact"),
        (&told.logs, "INVALID_FIELD"),
        (&told.logs, "mail sent"),
        (&told.spans, "contact.v1.ContactService/CreateContact"),
        (&told.metrics, "contact.v1.ContactService/CreateContact"),
        (&told.metrics, "reason=\"INVALID_FIELD\""),
        (&told.page, "unknown"),
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
        assert!(told.contains(seen), "no {seen}");
    }
    // Security lines alone name the subject, and nothing else of the token or request.
    let (security, mut logs): (Vec<_>, Vec<_>) =
        (told.logs.lines()).partition(|line| line.contains("contact_service::security"));
    let security = security.join("\n");
    assert!(security.contains("zq7k-sub"));
    let security = security.replace("zq7k-sub", "");
    logs.push(&security);
    let logs = logs.join("\n");
    let others = [
        ("logs", &logs),
        ("spans", &told.spans),
        ("metrics", &told.metrics),
        ("page", &told.page),
    ];
    let (answers, secrets) = (told.answers.iter(), told.secrets.clone());
    let all = answers
        .map(|(path, told)| (path.as_str(), told))
        .chain(others);
    let singing: Vec<_> = all
        .flat_map(|(what, told)| {
            let lines = heard(told, &secrets).into_iter();
            lines.map(move |line| format!("{what}: {line}"))
        })
        .collect();
    assert!(singing.is_empty(), "\n{}\n", singing.join("\n"));
}
