//! The channels that were verified in phone calls (rules 19, 28).

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, QuerySelect, Set,
    sea_query::{LockType, OnConflict},
};
use uuid::Uuid;

use super::{
    database::Database,
    entity::{
        customers,
        verified_channels::{ActiveModel, Column, Entity},
    },
    error::StorageError,
    transaction::{Outcome, Transaction},
};
use crate::{
    domain::{
        caller::{ChannelMatch, ChannelOwner, MatchKind},
        ids::{ContactId, CustomerNumber},
        phone_order::VerifiedChannel,
    },
    error::{Error, Result},
};

/// How long a verification is remembered for its phone call.
const RETENTION: TimeDelta = TimeDelta::hours(24);
/// The id of the contact data.
pub(super) const CONTACT_DATA: Uuid = Uuid::nil();

impl Database {
    /// Remembers the matches of a phone call; `call` is a hash of its id. Returns false if the customer
    /// is not on file.
    pub async fn remember_channels(
        &self,
        number: &CustomerNumber,
        call: &str,
        matches: &[ChannelMatch],
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let rows = matches.iter().map(|found| ActiveModel {
            customer_number: Set(number.as_str().to_owned()),
            call_id: Set(call.to_owned()),
            contact_id: Set(owner_id(&found.owner)),
            match_kind: Set(found.kind.as_str().to_owned()),
            verify_time: Set(now),
            expire_time: Set(now + RETENTION),
        });
        let (number, rows) = (number.clone(), rows.collect::<Vec<_>>());
        self.transaction(move |transaction| {
            let (number, rows) = (number.clone(), rows.clone());
            Box::pin(async move { transaction.upsert_verified_channels(&number, rows).await })
        })
        .await
    }
}

impl Transaction {
    /// The lock on the customer delays an erasure, which would miss the rows.
    async fn upsert_verified_channels(
        &self,
        number: &CustomerNumber,
        rows: Vec<ActiveModel>,
    ) -> Result<Outcome<bool>> {
        let customer = customers::Entity::find_by_id(number.as_str())
            .lock(LockType::KeyShare)
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        if customer.is_none() {
            return Ok(Outcome::Rollback(false));
        }
        let key = [Column::CustomerNumber, Column::CallId, Column::ContactId];
        let latest = OnConflict::columns(key)
            .update_columns([Column::MatchKind, Column::VerifyTime, Column::ExpireTime])
            .to_owned();
        Entity::insert_many(rows)
            .on_conflict(latest)
            .exec_without_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(Outcome::Commit(true))
    }

    /// Returns the channel that was verified in a phone call: the contact's own, or else that of the
    /// contact data.
    pub async fn find_verified_channel(
        &self,
        number: &CustomerNumber,
        call: &str,
        contact_id: ContactId,
        now: DateTime<Utc>,
    ) -> Result<VerifiedChannel> {
        let rows = Entity::find()
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::CallId.eq(call))
            .filter(Column::ContactId.is_in([contact_id.0, CONTACT_DATA]))
            .filter(Column::ExpireTime.gt(now))
            .all(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let kind_of = |id| {
            let row = rows.iter().find(|row| row.contact_id == id);
            row.map(|row| to_match_kind(&row.match_kind)).transpose()
        };
        if let Some(kind) = kind_of(contact_id.0)? {
            return Ok(VerifiedChannel::Contact(kind));
        }
        Ok(kind_of(CONTACT_DATA)?
            .map_or(VerifiedChannel::NotVerified, VerifiedChannel::ContactData))
    }
}

fn owner_id(owner: &ChannelOwner) -> Uuid {
    match owner {
        ChannelOwner::ContactData => CONTACT_DATA,
        ChannelOwner::Contact { id, .. } => id.0,
    }
}

pub(super) fn to_match_kind(name: &str) -> Result<MatchKind> {
    MatchKind::find(name).ok_or_else(|| Error::data_loss("verified_channels.match_kind"))
}
