//! Resolves the recipients of a message.

use chrono::{DateTime, Utc};

use super::context::App;
use crate::{
    domain::{
        ids::CustomerNumber,
        recipients::{Addressees, Purpose, Resolution, resolve},
    },
    error::{Error, Result},
    storage::{Database, FoundAddressees},
};

impl App {
    /// Resolves the recipients of one customer for a purpose. `attention_line_chars` is the
    /// maximum length of an invoice's attention line in characters.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`].
    pub async fn resolve_recipients(
        &self,
        customer_number: &CustomerNumber,
        purpose: Purpose,
        attention_line_chars: usize,
    ) -> Result<Resolution> {
        let addressees = self.database.find_addressees(customer_number).await?;
        let addressees = addressees.ok_or(Error::CustomerNotFound)?;
        Ok(resolve(
            &addressees,
            purpose,
            attention_line_chars,
            self.now(),
        ))
    }

    /// Resolves the recipients of one customer for several purposes, as of one moment.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`].
    pub async fn resolve_purposes(
        &self,
        customer_number: &CustomerNumber,
        purposes: &[Purpose],
        attention_line_chars: usize,
    ) -> Result<Vec<Resolution>> {
        let addressees = self.database.find_addressees(customer_number).await?;
        let addressees = addressees.ok_or(Error::CustomerNotFound)?;
        let now = self.now();
        Ok(resolve_each(
            &addressees,
            purposes,
            attention_line_chars,
            now,
        ))
    }

    /// Lists up to `limit` customer numbers after another one, or the first ones, in their order.
    ///
    /// # Errors
    /// Database errors.
    pub async fn list_customer_numbers(
        &self,
        after: Option<&CustomerNumber>,
        limit: usize,
    ) -> Result<Vec<CustomerNumber>> {
        self.database.list_customer_numbers(after, limit).await
    }

    /// Returns the number of customers that are best resolved at once in a long run.
    pub fn customers_per_read(&self) -> usize {
        self.database.customers_per_read()
    }

    /// Resolves the recipients of many customers. The results have the order of the numbers; a
    /// customer that is missing or cannot be read has an error as its result.
    ///
    /// # Errors
    /// Database errors that concern all customers.
    pub async fn resolve_many(
        &self,
        customer_numbers: &[CustomerNumber],
        purpose: Purpose,
        attention_line_chars: usize,
    ) -> Result<Vec<Result<Resolution>>> {
        let found = self.database.list_addressees(customer_numbers).await?;
        let (room, now) = (attention_line_chars, self.now());
        Ok(with_each(found, |one| resolve(one, purpose, room, now)))
    }

    /// Resolves the recipients of customers that [`list_customer_numbers`](Self::list_customer_numbers)
    /// returned. One that is missing was erased since.
    ///
    /// # Errors
    /// Database errors that concern all customers.
    pub async fn resolve_listed(
        &self,
        customer_numbers: &[CustomerNumber],
        purpose: Purpose,
        attention_line_chars: usize,
    ) -> Result<Vec<Result<Resolution>>> {
        let found = self
            .database
            .list_listed_addressees(customer_numbers)
            .await?;
        let (room, now) = (attention_line_chars, self.now());
        Ok(with_each(found, |one| resolve(one, purpose, room, now)))
    }
}

/// Resolves the recipients of many customers for several purposes, each customer by one read, for
/// callers without keys and hasher. The results have the order of the numbers, and those of a
/// customer the order of the purposes; a customer that is missing or cannot be read has an error as
/// its result.
///
/// # Errors
/// Database errors that concern all customers.
pub async fn resolve_many(
    database: &Database,
    customer_numbers: &[CustomerNumber],
    purposes: &[Purpose],
    attention_line_chars: usize,
    now: DateTime<Utc>,
) -> Result<Vec<Result<Vec<Resolution>>>> {
    let found = database.list_addressees(customer_numbers).await?;
    let room = attention_line_chars;
    Ok(with_each(found, |one| {
        resolve_each(one, purposes, room, now)
    }))
}

/// Resolves the recipients of customers that were listed before, as [`resolve_many`] does. One that is
/// missing was erased since.
///
/// # Errors
/// Database errors that concern all customers.
pub async fn resolve_listed(
    database: &Database,
    customer_numbers: &[CustomerNumber],
    purposes: &[Purpose],
    attention_line_chars: usize,
    now: DateTime<Utc>,
) -> Result<Vec<Result<Vec<Resolution>>>> {
    let found = database.list_listed_addressees(customer_numbers).await?;
    let room = attention_line_chars;
    Ok(with_each(found, |one| {
        resolve_each(one, purposes, room, now)
    }))
}

/// Resolves each customer that was found; one that is missing or cannot be read has an error.
fn with_each<T>(found: Vec<FoundAddressees>, resolve: impl Fn(&Addressees) -> T) -> Vec<Result<T>> {
    let resolutions = found.into_iter().map(|addressees| {
        let addressees = addressees?.ok_or(Error::CustomerNotFound)?;
        Ok(resolve(&addressees))
    });
    resolutions.collect()
}

fn resolve_each(
    addressees: &Addressees,
    purposes: &[Purpose],
    attention_line_chars: usize,
    now: DateTime<Utc>,
) -> Vec<Resolution> {
    let resolution = |purpose: &Purpose| resolve(addressees, *purpose, attention_line_chars, now);
    purposes.iter().map(resolution).collect()
}
