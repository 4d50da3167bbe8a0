//! The binary as its operators see it: real processes in folders of their own.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and prints its figures"
)]

mod process;

mod backup;
mod brand_settings;
mod call;
mod commands;
mod databases;
mod drills;
mod floods;
mod generated_customers;
mod help;
mod import;
mod key_status;
mod leak_markers;
mod logs;
mod privacy;
mod reference;
mod report_bounces;
mod resolve;
mod serving;
mod settings;
mod testing;
mod unread_logs;
mod verify_data;
