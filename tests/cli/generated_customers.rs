//! The customers that benchmarks generate suit the schema, and are as the service would have written them.

#[allow(dead_code, reason = "the benchmarks use the rest")]
#[path = "../../benches/support/loading.rs"]
mod loading;
#[allow(dead_code, reason = "the benchmarks use the rest")]
#[path = "../../benches/support/people.rs"]
mod people;
#[allow(dead_code, reason = "the benchmarks use the rest")]
#[path = "../../benches/support/population.rs"]
mod population;
#[allow(dead_code, reason = "the benchmarks use the rest")]
#[path = "../../benches/support/rows.rs"]
mod rows;

use contact_service::clock::Clock;
use rstest::rstest;

use self::{
    loading::{fill_postgres, fill_sqlite},
    people::Population,
};
use crate::process::{Backend, Sandbox};

const CUSTOMERS: u64 = 300;
const DAY: i64 = 24 * 60 * 60;

#[rstest]
#[tokio::test]
async fn generated_customers_are_intact(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = Sandbox::on(backend).await;
    let migrated = sandbox.run(&["migrate", "up"]);
    assert!(migrated.status.success(), "{}", migrated.stderr);
    let now = Clock::System.now().timestamp();
    let population = Population {
        seed: 1,
        customers: CUSTOMERS,
        midnight: u64::try_from(now - now % DAY).unwrap(),
    };
    let url = sandbox.database_url();
    let filled = match backend {
        Backend::Sqlite => fill_sqlite(&url, &population).await,
        Backend::Postgres => fill_postgres(&url, &population).await,
    };
    filled.unwrap();

    let verified = sandbox.run(&["verify-data"]);
    let (stdout, stderr) = (&verified.stdout, &verified.stderr);
    assert!(verified.status.success(), "{stdout}{stderr}");
    assert!(stderr.starts_with("300 customers, "), "{stderr}");
    let resolved = sandbox.run(&["resolve", "--all", "--purpose", "invoice"]);
    assert!(resolved.status.success(), "{}", resolved.stderr);
    assert_eq!(
        resolved.stdout.lines().count(),
        301,
        "a header and each customer"
    );
}
