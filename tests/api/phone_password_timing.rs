//! Rule 17 as measured by the clock: wrong, unset and unknown passwords take the same time.

use std::time::Instant;

use contact_service::{
    api::proto::ContactType,
    app::{CallerCheck, CallerVerdict, Candidate},
    domain::{
        audit::Actor,
        ids::{ContactId, ContactRef, CustomerNumber},
        phone_password::NormalizedPassword,
    },
};
use rstest::rstest;
use uuid::Uuid;

use crate::{
    harness::{Backend, TestServer},
    phone_calls::{PASSWORD, contact_ref},
};

/// Attempts below the lock threshold; locked contacts take another code path.
const ATTEMPTS_PER_CONTACT: usize = 4;
const CONTACTS_PER_CUSTOMER: usize = 50;
const REQUESTS_PER_CLASS: usize = 10_000;
/// The largest t at which two means count as equal.
const MAX_T: f64 = 4.5;

/// Mean and variance of a class, updated per request (Welford).
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Sample {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn variance_of_mean(self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

/// Welch's t.
fn welch_t(one: Sample, other: Sample) -> f64 {
    let spread = one.variance_of_mean() + other.variance_of_mean();
    (one.mean - other.mean) / spread.sqrt()
}

/// Contacts with a password, without one, and with an unknown id, in equal numbers and of the
/// same customers.
async fn contacts_of_three_classes(server: &TestServer) -> [Vec<ContactRef>; 3] {
    let needed = REQUESTS_PER_CLASS.div_ceil(ATTEMPTS_PER_CONTACT);
    let [mut set, mut unset, mut unknown] = [const { Vec::new() }; 3];
    for index in 0..needed.div_ceil(CONTACTS_PER_CUSTOMER) {
        let number = format!("T-{index}");
        server.create_customer(&number).await;
        for _ in 0..CONTACTS_PER_CUSTOMER {
            let standard = &[ContactType::Standard];
            let contact = server.create_contact(&number, "Anna", standard, "").await;
            server.set_phone_password(&contact, PASSWORD).await.unwrap();
            set.push(contact_ref(&contact));
            let contact = server.create_contact(&number, "Bernd", standard, "").await;
            unset.push(contact_ref(&contact));
            let count = u128::try_from(unknown.len()).unwrap();
            unknown.push(ContactRef {
                customer_number: CustomerNumber::parse(&number).unwrap(),
                contact_id: ContactId(Uuid::from_u128(1 << 100 | count)),
            });
        }
    }
    [set, unset, unknown]
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proof_rule_17_wrong_unset_and_unknown_take_equal_time(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let classes = contacts_of_three_classes(&server).await;
    let candidate = NormalizedPassword::from_spoken("falsch").unwrap();
    let mut samples = [Sample::default(); 3];
    let mut of_attempts = [[Sample::default(); 3]; ATTEMPTS_PER_CONTACT];
    for nth in 0..REQUESTS_PER_CLASS {
        // A different order in each round, so that no class always follows the same one.
        for step in 0..3 {
            let class = (nth + step * (1 + nth / 3 % 2)) % 3;
            let check = CallerCheck {
                contact: classes[class][nth / ATTEMPTS_PER_CONTACT].clone(),
                candidate: Candidate::Password(candidate.clone()),
                call_id: format!("call-{class}-{nth}"),
            };
            let agent = Actor(format!("agent-{class}-{}", nth / 10));
            let started = Instant::now();
            let verdict = server.app.authenticate_caller(&agent, check).await.unwrap();
            let micros = started.elapsed().as_secs_f64() * 1e6;
            assert!(matches!(verdict, CallerVerdict::NoMatch));
            // The slowest samples are noise of the machine.
            samples[class].add(micros.min(20_000.0));
            of_attempts[nth % ATTEMPTS_PER_CONTACT][class].add(micros.min(20_000.0));
        }
    }
    let [wrong, unset, unknown] = samples;
    let pairs = [
        welch_t(wrong, unset),
        welch_t(wrong, unknown),
        welch_t(unset, unknown),
    ];
    println!(
        "{backend:?}: {REQUESTS_PER_CLASS} requests per class, means {:.1}, {:.1}, {:.1} us; t {:.2}, {:.2}, {:.2}",
        wrong.mean, unset.mean, unknown.mean, pairs[0], pairs[1], pairs[2]
    );
    for (nth, of_attempt) in of_attempts.iter().enumerate() {
        let means = of_attempt.map(|sample| format!("{:.1}", sample.mean));
        println!("attempt {}: means {} us", nth + 1, means.join(", "));
    }
    assert!(pairs.iter().all(|t| t.abs() < MAX_T), "{pairs:?}");
}
