//! The contact service: who may speak for a customer, and who is written to.
//!
//! Imports point down, `api -> app -> storage -> domain`, and every feature has
//! the same noun in every layer:
//!
//! | module | owns |
//! |---|---|
//! | [`api`] | the gRPC contract: decode, authorise, call, encode |
//! | [`app`] | one function a use case: what happens in which transaction |
//! | [`mail`] | the outbox's worker, templates, transport |
//! | [`web`] | the confirmation page |
//! | [`storage`] | the database: entities, queries, migrations, transactions |
//! | [`domain`] | the rules, pure |
//! | [`server`] | listeners, limits, health, reflection, shutdown |
//! | [`phone_hasher`], [`versioned_keys`] | hashes of phone passwords, keys that rotate |
//! | [`config`], [`telemetry`], [`development`] | settings, logs and traces, keys for trying it out |
//! | [`meters`], [`call_trace`] | what is counted and measured, the span of a call |
//! | [`connection_limit`] | which connection makes room for a newcomer |
//! | [`memory_limit`] | how much memory the process may use |
//! | [`clock`], [`random`], [`error`] | time, randomness and failures, handed to everyone |
//! | [`kill_point`] | where tests kill the process |

pub mod api;
pub mod app;
pub mod call_trace;
pub mod clock;
pub mod config;
pub mod connection_limit;
pub mod development;
pub mod domain;
pub mod error;
pub mod kill_point;
pub mod mail;
pub mod memory_limit;
pub mod meters;
pub mod phone_hasher;
pub mod random;
pub mod server;
pub mod storage;
pub mod telemetry;
pub mod versioned_keys;
pub mod web;
