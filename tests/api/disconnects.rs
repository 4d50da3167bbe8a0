//! Clients that disconnect in the middle of a write. At no moment does this leave a connection in
//! a transaction, lose an acknowledged write, or apply one partially.
//!
//! All writers share one connection, so the next writer gets the one that was left: on SQLite the
//! service works this way, on PostgreSQL the test occupies the other connections.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use contact_service::{
    api::proto::{self, contact_service_client::ContactServiceClient},
    crypto::random::Random,
    error::Error,
    storage::{Database, Outcome},
};
use futures::future::join_all;
use rstest::rstest;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    harness::{
        ALL_SCOPES, Backend, Options, TestServer, execute, fresh_database, postgres_url,
        query_number, rejection,
    },
    own_database::{assert_no_open_transaction, own_postgres_database},
    requests::only_id,
};

const QUICK_DISCONNECTS: usize = 400;
const PROOF_DISCONNECTS: usize = 10_000;
/// Few, so that they spend their time in transactions and not in the queue for one.
const CLIENTS: usize = 2;
/// The size of the service's own pool, less the connection that is left free here.
const OCCUPIED_CONNECTIONS: usize = 9;
/// Shorter than the service's transaction timeout.
const ROUND: Duration = Duration::from_secs(1);
/// One of this many disconnects closes the connection, the others only cancel the RPC.
const CLOSE_EVERY: usize = 4;
const FIRST_DELAY: Duration = Duration::from_millis(5);

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnects_leave_no_transaction_and_lose_no_write(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    disconnect(backend, QUICK_DISCONNECTS).await;
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proof_10000_disconnects_on_a_pool_of_one(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    disconnect(backend, PROOF_DISCONNECTS).await;
}

async fn disconnect(backend: Backend, wanted: usize) {
    let folder = tempfile::tempdir().unwrap();
    let url = match backend {
        Backend::Sqlite => fresh_database(backend, folder.path().join("contacts.db")).await,
        Backend::Postgres => own_postgres_database().await,
    };
    let server = TestServer::start_on(&url, folder, Options::default()).await;
    let writers = Writers::new(&server, wanted).await;
    if backend == Backend::Postgres {
        assert_one_is_left(&server.database).await;
    }
    while writers.is_running() {
        let held = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(OccupiedConnections::take(&server.database).await),
        };
        let until = Instant::now() + ROUND;
        while writers.is_running() && Instant::now() < until {
            join_all((0..CLIENTS).map(|_| writers.disconnect())).await;
            // Before another write, which could end an abandoned transaction.
            assert_no_open_transaction(&url, backend, OCCUPIED_CONNECTIONS).await;
            join_all((0..CLIENTS).map(|_| writers.write_and_wait())).await;
        }
        if let Some(held) = held {
            held.release().await;
        }
    }
    let summary = writers.summarize(&url).await;
    println!("{backend:?}, one connection for all writers: {summary}");
    if backend == Backend::Postgres {
        server.database.clone().close().await;
        let name = url.rsplit('/').next().unwrap();
        let drop = format!("DROP DATABASE {name} WITH (FORCE)");
        execute(&postgres_url(), &drop).await;
    }
}

/// The writers and the outcomes of their writes.
struct Writers {
    address: String,
    /// For clients that keep their connection.
    shared: ContactServiceClient<Channel>,
    token: String,
    contact: proto::Contact,
    wanted: usize,
    disconnected: AtomicUsize,
    /// Numbers the writes, so that each has a unique name.
    serial: AtomicUsize,
    /// Duration of a write, so that clients disconnect during it.
    usual_micros: AtomicU64,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Customers whose creation was acknowledged.
    customers: Vec<String>,
    renames: i64,
    closed: usize,
    /// Rejected after waiting too long, which clients that keep disconnecting may cause.
    rejected: usize,
}

impl Writers {
    async fn new(server: &TestServer, wanted: usize) -> Self {
        Self {
            address: server.address.clone(),
            shared: client_of(&server.address),
            token: format!("Bearer {}", server.token(ALL_SCOPES, None)),
            contact: server.create_customer_with_contact("K-1").await,
            wanted,
            disconnected: AtomicUsize::new(0),
            serial: AtomicUsize::new(0),
            usual_micros: AtomicU64::new(u64::try_from(FIRST_DELAY.as_micros()).unwrap()),
            counts: Mutex::default(),
        }
    }

    fn is_running(&self) -> bool {
        self.disconnected.load(Ordering::SeqCst) < self.wanted
    }

    /// Begins a write without waiting for its end.
    async fn disconnect(&self) {
        let delay = self.delay();
        let mut client = self.shared.clone();
        let serial = self.serial.load(Ordering::SeqCst);
        let closes = serial.is_multiple_of(CLOSE_EVERY);
        if closes {
            client = self.client();
        }
        let response = tokio::time::timeout(delay, self.write(&mut client, true)).await;
        if let Ok(response) = response {
            // The write finished before the disconnect.
            self.note(response);
            return;
        }
        self.disconnected.fetch_add(1, Ordering::SeqCst);
        self.counts().closed += usize::from(closes);
    }

    async fn write_and_wait(&self) {
        let start = Instant::now();
        let response = self.write(&mut self.shared.clone(), false).await;
        self.note(response);
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap();
        let usual = self.usual_micros.load(Ordering::SeqCst);
        let usual = (usual * 7 + micros) / 8;
        self.usual_micros.store(usual, Ordering::SeqCst);
    }

    fn client(&self) -> ContactServiceClient<Channel> {
        client_of(&self.address)
    }

    /// Creates a customer and returns its number, or renames the contact that all writers share.
    async fn write(
        &self,
        client: &mut ContactServiceClient<Channel>,
        may_rename: bool,
    ) -> Result<Option<String>, Status> {
        let serial = self.serial.fetch_add(1, Ordering::SeqCst);
        let number = format!("W-{serial}");
        if may_rename && serial.is_multiple_of(2) {
            let contact = proto::Contact {
                display_name: number,
                ..only_id(&self.contact)
            };
            let request = proto::UpdateContactRequest {
                contact: Some(contact),
                ..proto::UpdateContactRequest::default()
            };
            client.update_contact(self.request(request)).await?;
            return Ok(None);
        }
        let customer = proto::Customer {
            customer_number: number.clone(),
            ..proto::Customer::default()
        };
        let request = proto::UpdateCustomerRequest {
            customer: Some(customer),
            allow_missing: true,
            ..proto::UpdateCustomerRequest::default()
        };
        client.update_customer(self.request(request)).await?;
        Ok(Some(number))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = self.token.parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        request
    }

    /// A random moment between the sending of a write and well after its usual end.
    fn delay(&self) -> Duration {
        let random = u64::from_be_bytes(Random::system().bytes().unwrap());
        let usual = self.usual_micros.load(Ordering::SeqCst);
        Duration::from_micros(random % (usual + usual / 2).max(1))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap()
    }

    fn note(&self, response: Result<Option<String>, Status>) {
        let mut counts = self.counts();
        match response {
            Ok(Some(number)) => counts.customers.push(number),
            Ok(None) => counts.renames += 1,
            Err(status) => {
                let (code, reason) = rejection::<()>(Err(status));
                let waited = [Code::Aborted, Code::Unavailable, Code::DeadlineExceeded];
                assert!(waited.contains(&code), "rejected with {code:?} {reason}");
                counts.rejected += 1;
            }
        }
    }

    /// Compares the acknowledged writes with the stored ones; returns a summary.
    async fn summarize(&self, url: &str) -> String {
        let counts = std::mem::take(&mut *self.counts());
        let numbers = counts.customers.join("', '");
        let found =
            format!("SELECT COUNT(*) FROM customers WHERE customer_number IN ('{numbers}')");
        let created = i64::try_from(counts.customers.len()).unwrap();
        let lost = created - query_number(url, &found).await;
        assert_eq!(lost, 0, "acknowledged creations are missing");
        let renamed = "SELECT COUNT(*) FROM audit_events WHERE kind = 'contact.updated'";
        let renamed = query_number(url, renamed).await;
        assert!(renamed >= counts.renames, "{renamed} of {}", counts.renames);
        // A write and its event exist both or not at all, including abandoned writes.
        let halves = "SELECT COUNT(*) FROM customers WHERE write_count <>
            (SELECT COUNT(*) FROM audit_events
             WHERE audit_events.customer_number = customers.customer_number)";
        assert_eq!(query_number(url, halves).await, 0, "partial writes");
        let orphans = "SELECT COUNT(*) FROM audit_events WHERE customer_number NOT IN
            (SELECT customer_number FROM customers)";
        assert_eq!(
            query_number(url, orphans).await,
            0,
            "events without a write"
        );
        let disconnected = self.disconnected.load(Ordering::SeqCst);
        assert!(
            counts.rejected <= disconnected / 100,
            "{} rejected",
            counts.rejected
        );
        format!(
            "{disconnected} disconnects ({} closed the connection), {} acknowledged writes, {} rejected for \
             waiting too long; 0 lost, 0 by half, 0 open transactions",
            counts.closed,
            created + counts.renames,
            counts.rejected
        )
    }
}

fn client_of(address: &str) -> ContactServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    ContactServiceClient::new(endpoint.connect_lazy())
}

/// Connections of the writers' pool, each idle in a transaction.
struct OccupiedConnections {
    release: watch::Sender<bool>,
    holders: Vec<JoinHandle<Result<(), Error>>>,
}

impl OccupiedConnections {
    async fn take(database: &Database) -> Self {
        Self::take_some(database, OCCUPIED_CONNECTIONS).await
    }

    async fn take_some(database: &Database, count: usize) -> Self {
        let (release, released) = watch::channel(false);
        let acquired = Arc::new(Semaphore::new(0));
        let holders = (0..count).map(|_| {
            let (database, acquired, released) =
                (database.clone(), acquired.clone(), released.clone());
            tokio::spawn(async move {
                let holding = database.transaction(move |_| {
                    acquired.add_permits(1);
                    let mut released = released.clone();
                    Box::pin(async move {
                        let _ = released.wait_for(|released| *released).await;
                        Ok(Outcome::Rollback(()))
                    })
                });
                holding.await
            })
        });
        let holders = holders.collect();
        let _ = acquired.acquire_many(u32::try_from(count).unwrap()).await;
        Self { release, holders }
    }

    async fn release(self) {
        self.release.send_replace(true);
        for holder in join_all(self.holders).await {
            holder.unwrap().unwrap();
        }
    }
}

/// Fails if the pool has another size than this test assumes.
async fn assert_one_is_left(database: &Database) {
    let all = OccupiedConnections::take_some(database, OCCUPIED_CONNECTIONS + 1).await;
    let nothing = database.transaction(|_| Box::pin(async { Ok(Outcome::Rollback(())) }));
    let waiting = tokio::time::timeout(Duration::from_millis(300), nothing).await;
    assert!(waiting.is_err(), "the pool has more connections");
    all.release().await;
}
