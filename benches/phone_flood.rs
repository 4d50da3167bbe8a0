//! Does a flood of phone password checks slow down who asks for recipients?
//!
//! Starts the service as a process of its own, asks it for recipients at a steady rate,
//! and compares the slowest percent with and without a flood of checks, in turns.
//! `scripts/bench` runs it on a private PostgreSQL.

#![allow(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, and prints its figures"
)]

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use contact_service::api::proto::{
    self, ContactType, contact_service_client::ContactServiceClient,
    set_phone_password_request::Source,
};
use tokio::time::MissedTickBehavior;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

const CUSTOMERS: usize = 64;
const PASSWORD: &str = "Roter Dachs 7";
const SCOPES: &str = "customers.write contacts.write recipients.resolve phone_password.check";
/// How often recipients are asked for.
const INTERVAL: Duration = Duration::from_millis(4);
const MEASURED: Duration = Duration::from_secs(10);
const TURNS: usize = 3;
/// More than there are places for hashes, so that some always wait.
const FLOOD: usize = 16;
const GOAL: f64 = 2.0;

#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Client = ContactServiceClient<InterceptedService<Channel, Bearer>>;

/// The service, ended when this is dropped.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(folder: &Path, address: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_contact-service"));
    command
        .current_dir(folder)
        .env_clear()
        .env("LISTEN_ADDR", address)
        .env("HTTP_ADDR", "127.0.0.1:0")
        .env("RUST_LOG", "warn");
    if let Ok(url) = std::env::var("TEST_POSTGRES_URL") {
        command.env("DATABASE_URL", url);
    }
    command
}

fn printed(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn start(folder: &Path) -> (Service, Client) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let address = free.unwrap().to_string();
    let mut migrate = command(folder, &address);
    migrate.args(["migrate", "up"]);
    printed(migrate);
    let mut token = command(folder, &address);
    token.args(["token", "--sub", "bench", "--ttl", "1h", "--scope", SCOPES]);
    let token = printed(token);
    let child = command(folder, &address)
        .arg("serve")
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let service = Service(child);
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let bearer = Bearer(format!("Bearer {token}").parse().unwrap());
    let mut client = ContactServiceClient::with_interceptor(endpoint.connect_lazy(), bearer);
    let begun = Instant::now();
    let ask = || proto::ResolveRecipientsRequest {
        customer_number: "B".into(),
        purpose: proto::Purpose::General.into(),
        ..proto::ResolveRecipientsRequest::default()
    };
    // Once it answers that there is no such customer, it serves.
    while client.resolve_recipients(ask()).await.unwrap_err().code() != Code::NotFound {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the service does not answer"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (service, client)
}

/// A customer with a contact that has a phone password; gives the contact's id.
async fn prepare(client: &mut Client, number: &str) -> String {
    let customer = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: number.into(),
            ..proto::Customer::default()
        }),
        allow_missing: true,
        ..proto::UpdateCustomerRequest::default()
    };
    client.update_customer(customer).await.unwrap();
    let contact = proto::CreateContactRequest {
        customer_number: number.into(),
        contact: Some(proto::Contact {
            types: vec![ContactType::Standard.into()],
            display_name: "Anna Schmidt".into(),
            ..proto::Contact::default()
        }),
        ..proto::CreateContactRequest::default()
    };
    let contact = client.create_contact(contact).await.unwrap().into_inner();
    let contact_id = contact.contact.unwrap().contact_id;
    let password = proto::SetPhonePasswordRequest {
        customer_number: number.into(),
        contact_id: contact_id.clone(),
        source: Some(Source::PhonePassword(PASSWORD.into())),
    };
    client.set_phone_password(password).await.unwrap();
    contact_id
}

/// Checks without a pause, each the right password, so that nothing locks.
async fn flood(
    mut client: Client,
    contacts: Arc<Vec<(String, String)>>,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    checked: Arc<AtomicU64>,
) {
    while !stop.load(Ordering::Relaxed) {
        let nth = calls.fetch_add(1, Ordering::Relaxed);
        let index = usize::try_from(nth).unwrap() % contacts.len();
        let (number, id) = contacts.get(index).unwrap();
        let request = proto::CheckPhonePasswordRequest {
            customer_number: number.clone(),
            contact_id: id.clone(),
            phone_password: PASSWORD.into(),
            call_id: format!("call-{nth}"),
        };
        if client.check_phone_password(request).await.is_ok() {
            checked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Asks at a steady rate, whether or not the last answer is there, and gives all times.
async fn measure(client: &Client, contacts: &[(String, String)]) -> Vec<Duration> {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = Vec::new();
    let begun = Instant::now();
    for (number, _) in contacts.iter().cycle() {
        if begun.elapsed() >= MEASURED {
            break;
        }
        ticks.tick().await;
        let request = proto::ResolveRecipientsRequest {
            customer_number: number.clone(),
            purpose: proto::Purpose::General.into(),
            ..proto::ResolveRecipientsRequest::default()
        };
        let mut client = client.clone();
        asked.push(tokio::spawn(async move {
            let begun = Instant::now();
            client.resolve_recipients(request).await.unwrap();
            begun.elapsed()
        }));
    }
    let mut times = Vec::new();
    for call in asked {
        times.push(call.await.unwrap());
    }
    times
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let index = (times.len() * percent / 100).min(times.len() - 1);
    times.get(index).unwrap().as_secs_f64() * 1e3
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let (_service, mut client) = start(folder.path()).await;
    let mut contacts = Vec::new();
    for index in 0..CUSTOMERS {
        let number = format!("B-{index}");
        let id = prepare(&mut client, &number).await;
        contacts.push((number, id));
    }
    let contacts = Arc::new(contacts);
    let (calls, checked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let seconds = (0..TURNS).map(|_| MEASURED.as_secs_f64()).sum::<f64>();
    let (mut calm, mut flooded) = (Vec::new(), Vec::new());
    measure(&client, &contacts).await;
    for _ in 0..TURNS {
        calm.extend(measure(&client, &contacts).await);
        let stop = Arc::new(AtomicBool::new(false));
        let floods: Vec<_> = (0..FLOOD)
            .map(|_| {
                let (contacts, stop) = (Arc::clone(&contacts), Arc::clone(&stop));
                let (calls, checked) = (Arc::clone(&calls), Arc::clone(&checked));
                tokio::spawn(flood(client.clone(), contacts, stop, calls, checked))
            })
            .collect();
        flooded.extend(measure(&client, &contacts).await);
        stop.store(true, Ordering::Relaxed);
        for flood in floods {
            flood.await.unwrap();
        }
    }
    let database = if std::env::var("TEST_POSTGRES_URL").is_ok() {
        "PostgreSQL"
    } else {
        "SQLite"
    };
    let (without, with) = (percentile(&mut calm, 99), percentile(&mut flooded, 99));
    println!("| ResolveRecipients, {database} | without | with the flood | ratio | goal |");
    println!("|---|---|---|---|---|");
    println!(
        "| p50, ms | {:.2} | {:.2} | {:.2} | |",
        percentile(&mut calm, 50),
        percentile(&mut flooded, 50),
        percentile(&mut flooded, 50) / percentile(&mut calm, 50)
    );
    println!(
        "| p99, ms | {without:.2} | {with:.2} | {:.2} | <= {GOAL} |",
        with / without
    );
    println!(
        "{} calls each; {:.1} password checks a second in the flood",
        calm.len(),
        checked.load(Ordering::Relaxed) as f64 / seconds
    );
}
