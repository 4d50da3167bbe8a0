//! The whole service beside a small model of it: random histories of every RPC that changes
//! something, with the clock, and after each command the answers and everything on file compared.
//!
//! A history that fails is made shorter, and printed with the seed that makes it again. To
//! repeat one: `PROPTEST_RNG_SEED=… ./scripts/test --only rust -- -E 'test(model::)'`.

mod book;
mod commands;
mod contacts;
mod driver;
mod emails;
mod fields;
mod look;
mod names;
mod phone;
mod recipients;
mod requests;
mod resolve;
mod together;
mod values;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use contact_service::crypto::random::Random;
use proptest::{
    collection::vec,
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngSeed, TestCaseError, TestRunner},
};
use rstest::rstest;
use tokio::{runtime::Runtime, sync::Mutex};

use self::{
    commands::{Command, Step, histories},
    driver::{Difference, Driver},
    together::Figures,
};
use crate::harness::{Backend, Options, TestServer};

const QUICK_HISTORIES: u32 = 30;
const PROOF_HISTORIES: u32 = 1_000;
const QUICK_ROUNDS: usize = 5;
const PROOF_ROUNDS: usize = 500;
const TASKS: usize = 8;
const MOST_SIMPLIFICATIONS: u32 = 500;
/// Every half a minute a server sees to its deadlines, and so does it when it starts. A history
/// says itself when that happens, so each one runs between the two.
const YOUTH: Duration = Duration::from_secs(12);
const ROUNDS_BEGIN: Duration = Duration::from_secs(28);

#[rstest]
fn random_histories_go_as_the_model_says(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    check(backend, QUICK_HISTORIES);
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
fn proof_1000_histories_go_as_the_model_says(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    check(backend, PROOF_HISTORIES);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_of_eight_writers_is_lost(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let servers = start_all(backend).await;
    let repeated = together::count_up(&servers, "K-1", 5).await;
    println!("{backend:?}: 40 of 40 counted, {repeated} done over");
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_histories_are_explained_by_their_trail(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    check_together(backend, QUICK_ROUNDS).await;
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proof_500_concurrent_histories_are_explained_by_their_trail(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    check_together(backend, PROOF_ROUNDS).await;
    let servers = start_all(backend).await;
    let repeated = together::count_up(&servers, "K-1", 100).await;
    println!("{backend:?}: 800 of 800 counted, {repeated} done over");
}

/// What shares one database: two servers on PostgreSQL; SQLite has one.
async fn start_all(backend: Backend) -> Vec<TestServer> {
    let first = TestServer::start_with(backend, Options::unlimited_checks()).await;
    let mut servers = vec![first];
    if backend == Backend::Postgres {
        // Of the same keys, under which mails are counted.
        servers.push(servers[0].start_beside(Options::unlimited_checks()).await);
    }
    servers
}

async fn check_together(backend: Backend, rounds: usize) {
    let (seed, mut runner) = runner(1);
    let lists = vec(vec(commands::writes(), 4..10), TASKS);
    let mut figures = Figures::default();
    let servers = start_all(backend).await;
    for round in 0..rounds {
        let mut lists = lists.new_tree(&mut runner).unwrap().current();
        for list in &mut lists {
            // An erasure takes the trail away by which these histories are explained.
            list.retain(|command| !matches!(command, Command::EraseCustomer { .. }));
        }
        let mut driver = Driver::new(&servers, round);
        if let Err(Difference(what)) = driver.run_together(&lists, &mut figures).await {
            panic!("{backend:?}, PROPTEST_RNG_SEED={seed}, round {round}: {what}");
        }
    }
    println!("{backend:?}: {rounds} rounds of {TASKS} tasks: {figures:?}");
}

/// A server and the time of its start, and what happened so far.
struct Young {
    servers: Vec<TestServer>,
    start: Instant,
    histories: usize,
    seen: BTreeMap<String, usize>,
}

impl Young {
    async fn start(backend: Backend) -> Self {
        Self {
            servers: vec![start_patiently(backend).await],
            start: Instant::now(),
            histories: 0,
            seen: BTreeMap::new(),
        }
    }

    async fn renew(&mut self, backend: Backend) {
        let new = vec![start_patiently(backend).await];
        stop(std::mem::replace(&mut self.servers, new)).await;
        self.start = Instant::now();
    }
}

fn check(backend: Backend, cases: u32) {
    let (seed, mut runner) = runner(cases);
    let runtime = Runtime::new().unwrap();
    let young = Mutex::new(runtime.block_on(Young::start(backend)));
    let outcome = runner.run(&histories(), |steps| {
        let ran = runtime.block_on(run_young(backend, &young, &steps));
        ran.map_err(|Difference(what)| TestCaseError::fail(what))
    });
    let Young { seen, servers, .. } = young.into_inner();
    runtime.block_on(stop(servers));
    if let Err(failure) = outcome {
        panic!("{backend:?}, PROPTEST_RNG_SEED={seed}: {failure}");
    }
    println!("{backend:?}: {cases} histories as the model says: {seen:#?}");
}

/// The seed, and what makes values of it.
fn runner(cases: u32) -> (u64, TestRunner) {
    let config = Config::default();
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => u64::from_le_bytes(Random::system().bytes().unwrap()),
    };
    let runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: config.max_shrink_iters.min(MOST_SIMPLIFICATIONS),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..config
    });
    (seed, runner)
}

/// A machine that runs many tests may not let a server connect in time.
async fn start_patiently(backend: Backend) -> TestServer {
    for _ in 0..5 {
        if let Ok(server) =
            tokio::spawn(TestServer::start_with(backend, Options::unlimited_checks())).await
        {
            return server;
        }
    }
    panic!("no server starts");
}

async fn stop(servers: Vec<TestServer>) {
    for mut server in servers {
        server.stop().await.unwrap();
    }
}

/// Runs a history between two rounds of a server. One that a slow machine did not get through
/// is run once more.
async fn run_young(
    backend: Backend,
    young: &Mutex<Young>,
    steps: &[Step],
) -> Result<(), Difference> {
    let mut young = young.lock().await;
    loop {
        if young.start.elapsed() > YOUTH {
            young.renew(backend).await;
        }
        young.histories += 1;
        let mut driver = Driver::new(&young.servers, young.histories);
        let ran = driver.run(steps).await;
        let (seen, was_busy) = (std::mem::take(&mut driver.seen), driver.was_busy);
        if young.start.elapsed() < ROUNDS_BEGIN && !was_busy {
            for (answered, count) in seen {
                *young.seen.entry(answered).or_default() += count;
            }
            return ran;
        }
    }
}
