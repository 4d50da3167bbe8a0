//! The service as its clients see it: a real server, a real database, a clock
//! that the test moves. One source runs on SQLite and on PostgreSQL.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and prints its figures"
)]

mod forged_tokens;
mod harness;
mod raw;
mod rpcs;

mod audit;
mod authorization;
mod fuzz;
mod last_standard_contact;
mod recipients;
