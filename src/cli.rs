//! The commands of the binary.

pub(crate) mod atomic_file;
pub(crate) mod bootstrap;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod healthcheck;
pub(crate) mod import;
pub(crate) mod migrate;
pub(crate) mod resolve;
pub(crate) mod token;
