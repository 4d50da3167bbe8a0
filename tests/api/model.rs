//! The whole service against a small reference model: random histories of all mutating RPCs and
//! clock steps. After each command the responses and the entire stored state are compared.
//!
//! A failing history is shrunk and printed with its seed. To repeat it: `PROPTEST_RNG_SEED=…
//! ./scripts/test --only rust -- -E 'test(model::)'`.

mod commands;
mod concurrent;
mod contacts;
mod driver;
mod emails;
mod fields;
mod names;
mod phone;
mod recipient_changes;
mod recipients;
mod reference_model;
mod requests;
mod resolve;
mod snapshot;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use contact_service::{app::DataChecker, crypto::random::Random};
use proptest::{
    collection::vec,
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngSeed, TestCaseError, TestRunner},
};
use rstest::rstest;
use tokio::{runtime::Runtime, sync::Mutex};

use self::{
    commands::{Command, Step, histories},
    concurrent::Figures,
    driver::{Difference, Driver},
};
use crate::harness::{Backend, Options, TestServer};

const QUICK_HISTORIES: u32 = 30;
const PROOF_HISTORIES: u32 = 1_000;
const QUICK_ROUNDS: usize = 5;
const PROOF_ROUNDS: usize = 500;
const TASKS: usize = 8;
const MAX_SHRINK_ITERATIONS: u32 = 500;
/// A server runs its background jobs at the start and every 30 seconds. Histories trigger these
/// effects themselves, so each one runs between two such runs.
const MAX_AGE_AT_START: Duration = Duration::from_secs(12);
const BACKGROUND_JOBS_START: Duration = Duration::from_secs(28);

#[rstest]
fn random_histories_match_the_model(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    check(backend, QUICK_HISTORIES);
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
fn proof_1000_histories_match_the_model(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    check(backend, PROOF_HISTORIES);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_lose_no_update(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let servers = start_all(backend).await;
    let repeated = concurrent::count_up(&servers, "K-1", 5).await;
    println!("{backend:?}: 40 of 40 counted, {repeated} retried");
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_histories_match_the_audit_log(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    check_concurrent(backend, QUICK_ROUNDS).await;
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proof_500_concurrent_histories_match_the_audit_log(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    check_concurrent(backend, PROOF_ROUNDS).await;
    let servers = start_all(backend).await;
    let repeated = concurrent::count_up(&servers, "K-1", 100).await;
    println!("{backend:?}: 800 of 800 counted, {repeated} retried");
}

/// Servers that share one database: two on PostgreSQL, one on SQLite.
async fn start_all(backend: Backend) -> Vec<TestServer> {
    let first = TestServer::start_with(backend, Options::unlimited_checks()).await;
    let mut servers = vec![first];
    if backend == Backend::Postgres {
        // With the same keys, which the e-mail counters depend on.
        servers.push(servers[0].start_peer(Options::unlimited_checks()).await);
    }
    servers
}

async fn check_concurrent(backend: Backend, rounds: usize) {
    let (seed, mut runner) = runner(1);
    let lists = vec(vec(commands::writes(), 4..10), TASKS);
    let mut figures = Figures::default();
    let servers = start_all(backend).await;
    for round in 0..rounds {
        let mut lists = lists.new_tree(&mut runner).unwrap().current();
        for list in &mut lists {
            // These histories are explained by the audit log, which an erasure deletes.
            list.retain(|command| !matches!(command, Command::EraseCustomer { .. }));
        }
        let mut driver = Driver::new(&servers, round);
        if let Err(Difference(text)) = driver.run_concurrent(&lists, &mut figures).await {
            panic!("{backend:?}, PROPTEST_RNG_SEED={seed}, round {round}: {text}");
        }
    }
    stop(servers).await;
    println!("{backend:?}: {rounds} rounds of {TASKS} tasks: {figures:?}");
}

/// A recently started server, its start time and the counts so far.
struct FreshServer {
    servers: Vec<TestServer>,
    start: Instant,
    histories: usize,
    seen: BTreeMap<String, usize>,
}

impl FreshServer {
    async fn start(backend: Backend) -> Self {
        Self {
            servers: vec![start_with_retry(backend).await],
            start: Instant::now(),
            histories: 0,
            seen: BTreeMap::new(),
        }
    }

    async fn restart(&mut self, backend: Backend) {
        let new = vec![start_with_retry(backend).await];
        stop(std::mem::replace(&mut self.servers, new)).await;
        self.start = Instant::now();
    }
}

fn check(backend: Backend, cases: u32) {
    let (seed, mut runner) = runner(cases);
    let runtime = Runtime::new().unwrap();
    let fresh = Mutex::new(runtime.block_on(FreshServer::start(backend)));
    let outcome = runner.run(&histories(), |steps| {
        let ran = runtime.block_on(run_on_fresh_server(backend, &fresh, &steps));
        ran.map_err(|Difference(text)| TestCaseError::fail(text))
    });
    let FreshServer { seen, servers, .. } = fresh.into_inner();
    runtime.block_on(stop(servers));
    if let Err(failure) = outcome {
        panic!("{backend:?}, PROPTEST_RNG_SEED={seed}: {failure}");
    }
    println!("{backend:?}: {cases} histories match the model: {seen:#?}");
}

/// The seed, and a generator of values from it.
fn runner(cases: u32) -> (u64, TestRunner) {
    let config = Config::default();
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => u64::from_le_bytes(Random::system().bytes().unwrap()),
    };
    let runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: config.max_shrink_iters.min(MAX_SHRINK_ITERATIONS),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..config
    });
    (seed, runner)
}

/// On a machine that runs many tests, a server may fail to connect in time.
async fn start_with_retry(backend: Backend) -> TestServer {
    for _ in 0..5 {
        if let Ok(server) =
            tokio::spawn(TestServer::start_with(backend, Options::unlimited_checks())).await
        {
            return server;
        }
    }
    panic!("no server starts");
}

/// Stops servers of one database, whose data must pass all checks of `verify-data`.
async fn stop(servers: Vec<TestServer>) {
    if let Some(first) = servers.first() {
        assert_verified(first).await;
    }
    for mut server in servers {
        server.stop().await.unwrap();
    }
}

async fn assert_verified(server: &TestServer) {
    let snapshot = server.database.snapshot().await.unwrap();
    let mut checker = DataChecker::new(snapshot, Some(BTreeSet::from([1])));
    let mut contacts = 0;
    while let Some(part) = checker.check_next().await.unwrap() {
        contacts += part.contacts;
        let findings: Vec<_> = part.findings.iter().map(ToString::to_string).collect();
        assert_eq!(findings, [""; 0]);
    }
    checker.end().await.unwrap();
    println!("{contacts} contacts verified");
}

/// Runs a history between two background runs of a server. Repeats it if a slow machine did not
/// finish it in that time.
async fn run_on_fresh_server(
    backend: Backend,
    fresh: &Mutex<FreshServer>,
    steps: &[Step],
) -> Result<(), Difference> {
    let mut fresh = fresh.lock().await;
    loop {
        if fresh.start.elapsed() > MAX_AGE_AT_START {
            fresh.restart(backend).await;
        }
        fresh.histories += 1;
        let mut driver = Driver::new(&fresh.servers, fresh.histories);
        let ran = driver.run(steps).await;
        let (seen, was_busy) = (std::mem::take(&mut driver.seen), driver.was_busy);
        if fresh.start.elapsed() < BACKGROUND_JOBS_START && !was_busy {
            for (answered, count) in seen {
                *fresh.seen.entry(answered).or_default() += count;
            }
            return ran;
        }
    }
}
