//! The customers of a run: the lines of a file, or all customers of the database.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use contact_service::{domain::ids::CustomerNumber, failpoint::failpoint, storage::Database};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::cli::{retry::with_retry, startup_error::StartupError};

/// Customers that are resolved together; more on a distributed database.
const BATCH: usize = 500;
/// The file name of standard input.
const STANDARD_INPUT: &str = "-";

/// The customers that are yet to be resolved.
pub(super) enum Source {
    /// The lines of a file.
    Lines(Lines),
    /// All customers after this one; `None`: from the first one.
    AllAfter(Option<CustomerNumber>),
}

pub(super) type Lines = Box<dyn Iterator<Item = Result<String, StartupError>> + Send>;

impl Source {
    /// Opens a file of customer numbers; `None`: all customers.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, StartupError> {
        match file {
            Some(path) => Ok(Self::Lines(open_lines(path)?)),
            None => Ok(Self::AllAfter(None)),
        }
    }

    /// Returns the customers in batches, in their order.
    pub(super) fn batches(
        self,
        database: &Database,
    ) -> BoxStream<'_, Result<Vec<String>, StartupError>> {
        match self {
            Self::Lines(lines) => stream::iter(line_batches(lines)).boxed(),
            Self::AllAfter(after) => {
                stream::try_unfold(after, |after| next_numbers(database, after)).boxed()
            }
        }
    }
}

/// Returns true if the file is standard input, which cannot be read again.
pub(super) fn is_standard_input(file: &Path) -> bool {
    file == Path::new(STANDARD_INPUT)
}

/// Counts the lines of a file as an upper limit of its customers. `None`: it is no regular file,
/// and reading it would consume it.
pub(super) fn count_lines(file: &Path) -> Option<u64> {
    if !file.is_file() {
        return None;
    }
    let mut reader = BufReader::new(File::open(file).ok()?);
    let mut count = 0;
    loop {
        let read = reader.skip_until(b'\n').ok()?;
        if read == 0 {
            return Some(count);
        }
        count += 1;
    }
}

/// Opens the trimmed lines of a file; empty ones are skipped.
fn open_lines(path: &Path) -> Result<Lines, StartupError> {
    let shown = path.to_owned();
    let reader: Box<dyn BufRead + Send> = if is_standard_input(path) {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(path).map_err(|error| StartupError::unreadable(path, &error))?;
        Box::new(BufReader::new(file))
    };
    let lines = reader.lines().map(move |line| match line {
        Ok(line) => Ok(line.trim_start_matches('\u{feff}').trim().to_owned()),
        Err(error) => Err(StartupError::unreadable(&shown, &error)),
    });
    Ok(Box::new(
        lines.filter(|line| !line.as_ref().is_ok_and(String::is_empty)),
    ))
}

fn line_batches(
    mut lines: Lines,
) -> impl Iterator<Item = Result<Vec<String>, StartupError>> + Send {
    std::iter::from_fn(move || {
        let batch: Result<Vec<_>, _> = lines.by_ref().take(BATCH).collect();
        batch
            .map(|texts| (!texts.is_empty()).then_some(texts))
            .transpose()
    })
}

/// A batch of customer numbers, and the last of them.
type NumberedBatch = Option<(Vec<String>, Option<CustomerNumber>)>;

async fn next_numbers(
    database: &Database,
    after: Option<CustomerNumber>,
) -> Result<NumberedBatch, StartupError> {
    let limit = BATCH.max(database.customers_per_read());
    let numbers = with_retry(|| database.list_customer_numbers(after.as_ref(), limit)).await?;
    tracing::debug!(customers = numbers.len(), "customers listed");
    failpoint("customers-listed").await;
    let Some(last) = numbers.last().cloned() else {
        return Ok(None);
    };
    let texts = numbers.iter().map(|number| number.as_str().to_owned());
    Ok(Some((texts.collect(), Some(last))))
}
