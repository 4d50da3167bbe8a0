//! The times of confirmation e-mails, by recipient and by customer. The limits are in
//! `domain::mail_limits`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{
    EntityTrait, Set,
    sea_query::{Expr, OnConflict},
};

use super::{
    bulk::chunks,
    columns::{from_times, to_times},
    entity::{mail_customers as customers, mail_recipients as recipients},
    error::StorageError,
    transaction::Transaction,
};
use crate::{
    domain::{ids::CustomerNumber, mail_limits::MailTimes},
    error::{Error, Result},
};

/// A keyed hash of a normalized address.
pub type RecipientHash = Vec<u8>;

/// The times of the e-mails to some recipients. Recipients are locked in the order of their hashes,
/// which prevents deadlocks.
pub(super) type RecipientTimes = BTreeMap<RecipientHash, MailTimes>;

impl Transaction {
    /// Locks these recipients until the transaction ends, and returns the times of their e-mails.
    pub async fn lock_mail_recipients(
        &self,
        hashes: impl IntoIterator<Item = RecipientHash>,
        now: DateTime<Utc>,
    ) -> Result<RecipientTimes> {
        let empty = hashes.into_iter().map(|hash| (hash, MailTimes::default()));
        let mut times: RecipientTimes = empty.collect();
        // An existing row keeps its time; the assignment locks it.
        let keep = OnConflict::column(recipients::Column::RecipientHash)
            .value(
                recipients::Column::LastTime,
                Expr::col((recipients::Entity, recipients::Column::LastTime)),
            )
            .to_owned();
        for rows in chunks(to_rows(&times, now)?) {
            let rows = recipients::Entity::insert_many(rows)
                .on_conflict(keep.clone())
                .exec_with_returning(&self.inner)
                .await
                .map_err(StorageError::from)?;
            for row in rows {
                let known = times.get_mut(row.recipient_hash.as_slice());
                let known =
                    known.ok_or_else(|| Error::internal("a lock returned another recipient"))?;
                known.0 = to_times(&row.mail_times)?;
            }
        }
        Ok(times)
    }

    /// Updates the times of locked recipients.
    pub async fn update_mail_recipients(
        &self,
        times: &RecipientTimes,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let columns = [recipients::Column::MailTimes, recipients::Column::LastTime];
        let replace = OnConflict::column(recipients::Column::RecipientHash)
            .update_columns(columns)
            .to_owned();
        for rows in chunks(to_rows(times, now)?) {
            recipients::Entity::insert_many(rows)
                .on_conflict(replace.clone())
                .exec_without_returning(&self.inner)
                .await
                .map_err(StorageError::from)?;
        }
        Ok(())
    }

    /// Returns the times of the e-mails of a locked customer, none if it has no row.
    pub async fn find_customer_mails(&self, number: &CustomerNumber) -> Result<MailTimes> {
        let row = customers::Entity::find_by_id(number.as_str())
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let times = row.map_or(Ok(Vec::new()), |row| to_times(&row.mail_times));
        times.map(MailTimes)
    }

    /// Updates the times of a locked customer.
    pub async fn update_customer_mails(
        &self,
        number: &CustomerNumber,
        times: &MailTimes,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let row = customers::ActiveModel {
            customer_number: Set(number.as_str().to_owned()),
            mail_times: Set(from_times(&times.0)?),
            last_time: Set(times.0.last().copied().unwrap_or(now)),
        };
        let columns = [customers::Column::MailTimes, customers::Column::LastTime];
        customers::Entity::insert(row)
            .on_conflict(
                OnConflict::column(customers::Column::CustomerNumber)
                    .update_columns(columns)
                    .to_owned(),
            )
            .exec_without_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }
}

fn to_rows(times: &RecipientTimes, now: DateTime<Utc>) -> Result<Vec<recipients::ActiveModel>> {
    let row = |(hash, times): (&RecipientHash, &MailTimes)| {
        Ok(recipients::ActiveModel {
            recipient_hash: Set(hash.clone()),
            mail_times: Set(from_times(&times.0)?),
            last_time: Set(times.0.last().copied().unwrap_or(now)),
        })
    };
    times.iter().map(row).collect()
}
