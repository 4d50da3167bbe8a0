//! Who is written to.

use chrono::{DateTime, Utc};

use crate::{
    app::App,
    domain::{
        customer::CustomerNumber,
        recipients::{Purpose, Resolution, resolve},
    },
    error::{Error, Result},
    storage::Database,
};

impl App {
    /// Decides who is written to; `attention_line_chars` is the room of an
    /// invoice's attention line in characters.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], and the failures of the database.
    pub async fn resolve_recipients(
        &self,
        number: &CustomerNumber,
        purpose: Purpose,
        attention_line_chars: usize,
    ) -> Result<Resolution> {
        let addressees = self.database.find_addressees(number).await?;
        let addressees = addressees.ok_or(Error::CustomerNotFound)?;
        Ok(resolve(
            &addressees,
            purpose,
            attention_line_chars,
            self.now(),
        ))
    }

    /// The same for many customers, in the order asked. A customer that is not on file, or
    /// cannot be read, has its error in its place.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn resolve_many(
        &self,
        numbers: &[CustomerNumber],
        purpose: Purpose,
        attention_line_chars: usize,
    ) -> Result<Vec<Result<Resolution>>> {
        let (database, now) = (&self.database, self.now());
        resolve_many(database, numbers, purpose, attention_line_chars, now).await
    }
}

/// Who is written to `now`, as [`App::resolve_many`] says, for whoever has no more than
/// the database.
///
/// # Errors
/// The failures of the database.
pub async fn resolve_many(
    database: &Database,
    numbers: &[CustomerNumber],
    purpose: Purpose,
    attention_line_chars: usize,
    now: DateTime<Utc>,
) -> Result<Vec<Result<Resolution>>> {
    let found = database.list_addressees(numbers).await?;
    let resolutions = found.into_iter().map(|addressees| {
        let addressees = addressees?.ok_or(Error::CustomerNotFound)?;
        Ok(resolve(&addressees, purpose, attention_line_chars, now))
    });
    Ok(resolutions.collect())
}
