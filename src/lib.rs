//! The contact service: the contact persons who may act for a hosting provider's customers, and the
//! recipients of its messages.
//!
//! Imports point down, `api -> app -> storage -> domain`, and every feature has
//! the same noun in every layer:
//!
//! | module | owns |
//! |---|---|
//! | [`api`] | the gRPC contract: authentication, admission, decoding, encoding |
//! | [`app`] | one function per use case: what happens in which transaction |
//! | [`storage`] | the database: entities, queries, migrations, transactions |
//! | [`domain`] | the rules; pure |
//! | [`mail`] | the outbox worker, templates, transports |
//! | [`web`] | the confirmation page; probes and metrics |
//! | [`brand`] | the provider's name, logo, color and time zone on the page and in e-mails |
//! | [`server`] | listeners, connections, background jobs, shutdown |
//! | [`crypto`] | keys, randomness, hashes of phone passwords |
//! | [`config`] | settings and their validation |
//! | [`observability`] | metrics, logs, traces |
//! | [`connection_limit`] | which connection makes room for a new one, on every listener |
//! | [`localization`] | the languages of people, and the texts of errors in them |
//! | [`clock`], [`error`], [`failpoint`] | the time, the closed list of errors, crash points for tests |

pub mod api;
pub mod app;
pub mod brand;
pub mod clock;
pub mod config;
pub mod connection_limit;
pub mod crypto;
pub mod domain;
pub mod error;
pub mod failpoint;
pub mod localization;
pub mod mail;
pub mod observability;
pub mod server;
pub mod storage;
pub mod web;
