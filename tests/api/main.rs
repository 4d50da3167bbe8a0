//! The service through its API: a real server, a real database, and a clock that the test moves.
//! One source runs on SQLite and on PostgreSQL.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking and print figures"
)]
#![allow(
    clippy::unnecessary_wraps,
    reason = "messages contain other messages as options, and so do the functions that build them"
)]
#![allow(
    unreachable_pub,
    reason = "nothing of a test is visible outside the crate, and `pub` is shorter"
)]

mod citus;
mod deadline;
mod explain;
mod forged_tokens;
mod harness;
mod held_lock;
mod long_audit_logs;
mod mailbox;
mod options;
mod own_database;
mod phone_calls;
mod proxy;
mod raw;
mod requests;
mod review;
mod rpcs;
mod statement_form;

mod attention_line;
mod audit;
mod audit_filters;
mod audit_pages;
mod authorization;
mod background_plans;
mod bench_scripts;
mod caller_verification;
mod change_notices;
mod change_options;
mod changes;
mod changes_cursor;
mod changes_erasure;
mod changes_order;
mod changes_sequencing;
mod channel_limits;
mod compression;
mod confirmation_page;
mod confirmation_races;
mod connections;
mod contact_answers;
mod contact_pages;
mod contact_saves;
mod contact_updates;
mod contacts;
mod customer_scopes;
mod customer_search;
mod customers;
mod database_roles;
mod delivery_reports;
mod denials;
mod disclosures;
mod disconnects;
mod distributed_form;
mod distribution;
mod email_bounces;
mod email_confirmation;
mod email_expiry;
mod emails;
mod erasure_races;
mod errors;
mod faults;
mod fuzz;
mod http_json;
mod http_unread;
mod invoice_email_lapse;
mod last_standard_contact;
mod listener_limits;
mod localized_errors;
mod mail_limits;
mod missing_pepper;
mod model;
mod no_change;
mod one_time_codes;
mod order_evidence;
mod order_lists;
mod order_types;
mod outbox;
mod phone_orders;
mod phone_password;
mod phone_password_attack;
mod phone_password_fairness;
mod phone_password_leaks;
mod phone_password_limits;
mod phone_password_notices;
mod phone_password_timing;
mod privacy;
mod provider_tokens;
mod query_plans;
mod readiness;
mod recipients;
mod recipients_all;
mod recipients_stream;
mod replica;
mod request_ids;
mod schema_rules;
mod server;
mod service_role;
mod stalled_readers;
mod storage;
mod token_causes;
mod validate_only;
