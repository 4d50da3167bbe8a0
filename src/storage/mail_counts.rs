//! The times of confirmation mails, by recipient and by customer. Their limits are in
//! `domain::mail_limits`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{
    EntityTrait, Set,
    sea_query::{Expr, OnConflict},
};

use super::{
    Transaction,
    entity::{mail_customers as customers, mail_recipients as recipients},
    phone_password::{from_times, to_times},
};
use crate::storage::error::Failure;
use crate::{
    domain::{ids::CustomerNumber, mail_limits::MailTimes},
    error::{Error, Result},
};

/// A keyed hash of a normalized address.
pub type RecipientHash = Vec<u8>;

/// The times of the mails to some recipients, which are locked in the order of their hashes: no two
/// transactions wait for each other.
pub(super) type RecipientTimes = BTreeMap<RecipientHash, MailTimes>;

impl Transaction {
    /// Returns the times of the mails to these recipients, and locks them until the end of the
    /// transaction.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn lock_mail_recipients(
        &self,
        hashes: impl IntoIterator<Item = RecipientHash>,
        now: DateTime<Utc>,
    ) -> Result<RecipientTimes> {
        let none = hashes.into_iter().map(|hash| (hash, MailTimes::default()));
        let mut times: RecipientTimes = none.collect();
        // What is there keeps its time, and is locked by the assignment.
        let keep = OnConflict::column(recipients::Column::RecipientHash)
            .value(
                recipients::Column::LastTime,
                Expr::col((recipients::Entity, recipients::Column::LastTime)),
            )
            .to_owned();
        if times.is_empty() {
            return Ok(times);
        }
        let rows = recipients::Entity::insert_many(to_rows(&times, now)?)
            .on_conflict(keep)
            .exec_with_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        for row in rows {
            let known = times.get_mut(row.recipient_hash.as_slice());
            let known = known
                .ok_or_else(|| Error::internal("a lock returned a row that is not its own"))?;
            known.0 = to_times(&row.mail_times)?;
        }
        Ok(times)
    }

    /// Saves the times of the mails to recipients that are locked.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn save_mail_recipients(
        &self,
        times: &RecipientTimes,
        now: DateTime<Utc>,
    ) -> Result<()> {
        if times.is_empty() {
            return Ok(());
        }
        let columns = [recipients::Column::MailTimes, recipients::Column::LastTime];
        recipients::Entity::insert_many(to_rows(times, now)?)
            .on_conflict(
                OnConflict::column(recipients::Column::RecipientHash)
                    .update_columns(columns)
                    .to_owned(),
            )
            .exec_without_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }

    /// Returns the times of the mails of a customer that is locked.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_customer_mails(&self, number: &CustomerNumber) -> Result<MailTimes> {
        let row = customers::Entity::find_by_id(number.as_str())
            .one(&self.inner)
            .await
            .map_err(Failure::from)?;
        let times = row.map_or(Ok(Vec::new()), |row| to_times(&row.mail_times));
        times.map(MailTimes)
    }

    /// Saves the times of the mails of a customer that is locked.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn save_customer_mails(
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
            .map_err(Failure::from)?;
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
