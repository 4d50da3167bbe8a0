//! The formats of the results.

use clap::ValueEnum;
use serde::Serialize;

/// Separates the values of a column in CSV. No address and no customer number contains it.
pub(super) const SEPARATOR: &str = ";";

// Doc comments of the variants would be printed by --help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    Csv,
    Jsonl,
}

/// A record of either format.
pub(super) trait Record: Serialize {
    /// The header of CSV, in the order of the fields.
    const COLUMNS: &'static [&'static str];

    /// Returns the values of a line of CSV.
    fn to_csv(&self) -> impl Serialize + '_;
}
