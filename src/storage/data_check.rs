//! The stored data as the checks read it: page by page, by the customer number.
//!
//! A page is a range of customer numbers, not a list of customers: it includes the rows whose customer
//! is missing.

mod conditions;
mod feed;
mod number_range;
mod rows;

use sea_orm::QueryResult;
use uuid::Uuid;

use self::conditions::{CONDITIONS, Condition};
pub use self::{
    feed::{FeedRow, FeedState, InboxRow},
    number_range::NumberRange,
    rows::{StoredContact, StoredCustomer, StoredMail},
};
use super::{error::StorageError, snapshot::Snapshot};
use crate::{
    domain::{data_check::Finding, ids::ContactId},
    error::Result,
};

/// The customers of a page.
const PAGE_SIZE: i64 = 500;
/// The findings of a condition in a page.
const MAX_FINDINGS: usize = 1_000;

const PAGE_END: &str = "\
    SELECT customer_number FROM customers WHERE customer_number > $1 \
    ORDER BY customer_number LIMIT 1 OFFSET $2";

impl Snapshot {
    /// Returns the page after another one, or the first; `None` after the last one.
    pub async fn next_page(&self, last: Option<&NumberRange>) -> Result<Option<NumberRange>> {
        let after = match last {
            None => String::new(),
            Some(NumberRange {
                until: Some(until), ..
            }) => until.clone(),
            Some(_) => return Ok(None),
        };
        let values = [after.as_str().into(), (PAGE_SIZE - 1).into()];
        let rows = self.query(PAGE_END, values).await?;
        let until = rows.first().map(|row| row.try_get_by_index(0)).transpose();
        let until = until.map_err(StorageError::from)?;
        Ok(Some(NumberRange { after, until }))
    }

    /// Finds the rows of a page that are inconsistent with other rows, at most 1,000 of each check.
    pub async fn find_inconsistent_rows(&self, page: &NumberRange) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for condition in CONDITIONS {
            let (range, values) = page.condition("r.customer_number");
            let rows = self.query(&condition.sql(&range), values).await?;
            let found = rows.iter().map(|row| condition.finding(row));
            findings.extend(found.collect::<Result<Vec<_>>>()?);
        }
        Ok(findings)
    }

    /// Counts the recipients of confirmation mails whose hash is damaged.
    pub async fn count_damaged_recipients(&self) -> Result<i64> {
        let rows = self.query(DAMAGED_RECIPIENTS, []).await?;
        let count = rows.first().map(|row| row.try_get_by_index(0)).transpose();
        Ok(count.map_err(StorageError::from)?.unwrap_or_default())
    }
}

const DAMAGED_RECIPIENTS: &str =
    "SELECT count(*) FROM mail_recipients WHERE length(recipient_hash) <> 32";

impl Condition {
    fn sql(&self, range: &str) -> String {
        let Self {
            table,
            contact,
            row,
            filter,
            ..
        } = self;
        let column = |name: Option<&str>| match name {
            Some(name) => format!("r.{name}"),
            None => "CAST(NULL AS uuid)".to_owned(),
        };
        let (contact, row) = (column(*contact), column(row.map(|(_, column)| column)));
        format!(
            "SELECT r.customer_number, {contact}, {row} FROM {table} r \
             WHERE {range} AND ({filter}) ORDER BY r.customer_number LIMIT {MAX_FINDINGS}"
        )
    }

    fn finding(&self, row: &QueryResult) -> Result<Finding> {
        let number: String = row.try_get_by_index(0).map_err(StorageError::from)?;
        let contact: Option<Uuid> = row.try_get_by_index(1).map_err(StorageError::from)?;
        let id: Option<Uuid> = row.try_get_by_index(2).map_err(StorageError::from)?;
        let name = self.row.map_or("row", |(name, _)| name);
        Ok(Finding {
            check: self.check,
            customer_number: Some(number),
            contact_id: contact.map(ContactId),
            row: id.map(|id| format!("{name} {id}")),
        })
    }
}
