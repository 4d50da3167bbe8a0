//! Fills an empty, migrated database with generated customers, for measurements.
//!
//! The same seed generates the same customers, except for the times of pending addresses, which
//! depend on the current day. Prints the result as one line of JSON.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "benchmarks fail by panicking and print figures"
)]

mod support {
    //! Modules shared by the benchmarks.

    pub(crate) mod loading;
    pub(crate) mod people;
    pub(crate) mod population;
    pub(crate) mod rows;
}

use std::time::Instant;

use clap::Parser;
use contact_service::{
    clock::Clock,
    domain::{
        contact::parse_display_name, contact_types::ContactTypes, email_address::EmailAddress,
        ids::CustomerNumber, phone_number::PhoneNumber,
    },
};
use serde::Serialize;
use support::{
    loading::{fill_postgres, fill_sqlite},
    people::Population,
    population::{contact_count, customer_number, phone_count, phone_number},
};

/// Number of customers whose values are checked against the service's own rules.
const CHECKED: u64 = 1000;
const DAY: i64 = 24 * 60 * 60;

/// Fill an empty, migrated database with generated customers
#[derive(Debug, Parser)]
struct CommandLine {
    /// Number of customers
    #[arg(long)]
    customers: u64,
    /// Seed of the generated customers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// URL of the database, as the service takes it
    #[arg(long)]
    database_url: String,
    /// Added by Cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Serialize)]
struct Made {
    customers: u64,
    contacts: u64,
    seconds: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let CommandLine {
        customers,
        seed,
        database_url,
        bench: _,
    } = CommandLine::parse();
    let start = Instant::now();
    let now = Clock::System.now().timestamp();
    let population = Population {
        seed,
        customers,
        midnight: u64::try_from(now - now % DAY).unwrap(),
    };
    check(&population);
    let filled = if database_url.starts_with("sqlite:") {
        fill_sqlite(&database_url, &population).await
    } else {
        fill_postgres(&database_url, &population).await
    };
    filled.unwrap();
    let made = Made {
        customers,
        contacts: (0..customers).map(|i| contact_count(seed, i)).sum(),
        seconds: start.elapsed().as_secs_f64(),
    };
    println!("{}", serde_json::to_string(&made).unwrap());
}

/// Checks that the service's own parsers accept the values, so that it can read every row.
fn check(population: &Population) {
    for i in 0..population.customers.min(CHECKED) {
        CustomerNumber::parse(&customer_number(i)).unwrap();
        check_email(population.contact_data_email(i));
        for j in 0..contact_count(population.seed, i) {
            let contact = population.contact(i, j);
            assert_eq!(parse_display_name(&contact.name).unwrap(), contact.name);
            let types = i16::try_from(contact.types).unwrap();
            assert!(!ContactTypes::from_bits(types).unwrap().is_empty());
            check_email(contact.email);
            check_email(contact.pending.map(|pending| pending.email));
            for k in 0..phone_count(population.seed, i, j) {
                let number = phone_number(population.seed, i, j, k);
                assert_eq!(PhoneNumber::parse(&number).unwrap().as_str(), number);
            }
        }
    }
}

fn check_email(email: Option<String>) {
    let Some(email) = email else {
        return;
    };
    let parsed = EmailAddress::parse(&email).unwrap();
    assert_eq!(parsed.as_str(), email);
    assert_eq!(parsed.comparison_key(), email.to_ascii_lowercase());
}
