//! Settings: flags, or the environment variables of the same names.
//!
//! Owns their reading and validation. An invalid setting aborts the start with one line, which
//! names the setting and the cause and never repeats a value that may be secret.

mod brand;
mod error;
mod settings;
mod telemetry;
mod validation;

pub use self::{
    error::ConfigError,
    settings::{Config, Settings},
    telemetry::{Collector, telemetry_variables},
    validation::{LogFormat, parse_duration},
};
