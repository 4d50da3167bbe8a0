//! The commands of the binary, a file each, and what they share.

pub(crate) mod atomic_file;
pub(crate) mod backup;
pub(crate) mod bootstrap;
pub(crate) mod call;
pub(crate) mod command_line;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod healthcheck;
pub(crate) mod help;
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod migrate;
pub(crate) mod progress;
pub(crate) mod report_bounces;
mod resolve;
pub(crate) mod retry;
pub(crate) mod serve;
pub(crate) mod startup_error;
pub(crate) mod token;
pub(crate) mod verify_data;
