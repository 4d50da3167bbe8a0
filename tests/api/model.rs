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
mod look;
mod names;
mod phone;
mod recipients;
mod requests;
mod resolve;
mod values;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use rstest::rstest;
use tokio::{runtime::Runtime, sync::Mutex};

use self::{
    commands::{Step, histories},
    driver::{Difference, Driver},
};
use crate::harness::{Backend, TestServer};

const QUICK_HISTORIES: u32 = 30;
const PROOF_HISTORIES: u32 = 1_000;
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

/// A server and the time of its start.
struct Young {
    servers: Vec<TestServer>,
    start: Instant,
}

impl Young {
    async fn start(backend: Backend) -> Self {
        Self {
            servers: vec![TestServer::start(backend).await],
            start: Instant::now(),
        }
    }

    async fn stop(mut self) {
        for server in &mut self.servers {
            server.stop().await.unwrap();
        }
    }
}

fn check(backend: Backend, cases: u32) {
    let config = Config::default();
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => rand_seed(),
    };
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: MOST_SIMPLIFICATIONS,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..config
    });
    let runtime = Runtime::new().unwrap();
    let young = Mutex::new(runtime.block_on(Young::start(backend)));
    let number = AtomicUsize::new(0);
    let outcome = runner.run(&histories(), |steps| {
        let run = run_young(backend, &young, &number, &steps);
        let ran = runtime.block_on(run);
        ran.map_err(|Difference(what)| TestCaseError::fail(what))
    });
    runtime.block_on(young.into_inner().stop());
    if let Err(failure) = outcome {
        panic!("{backend:?}, PROPTEST_RNG_SEED={seed}: {failure}");
    }
    println!("{backend:?}: {cases} histories as the model says");
}

fn rand_seed() -> u64 {
    let bytes = contact_service::random::Random::system().bytes();
    u64::from_le_bytes(bytes.unwrap())
}

/// Runs a history between two rounds of a server. One that a slow machine did not get through
/// is run once more.
async fn run_young(
    backend: Backend,
    young: &Mutex<Young>,
    number: &AtomicUsize,
    steps: &[Step],
) -> Result<(), Difference> {
    let mut young = young.lock().await;
    loop {
        if young.start.elapsed() > YOUTH {
            let old = std::mem::replace(&mut *young, Young::start(backend).await);
            old.stop().await;
        }
        let history = number.fetch_add(1, Ordering::Relaxed);
        let ran = Driver::new(&young.servers, history).run(steps).await;
        if young.start.elapsed() < ROUNDS_BEGIN {
            return ran;
        }
    }
}
