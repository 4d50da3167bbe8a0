//! The channels that were verified in phone calls (rules 19, 28), as the audit log has them.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder};

use super::{
    columns::to_details,
    entity::audit_events::{Column, Entity, Model},
    error::StorageError,
    transaction::Transaction,
};
use crate::{
    domain::{
        audit::MATCH_DETAIL,
        caller::MatchKind,
        ids::{ContactId, CustomerNumber},
        phone_order::VerifiedChannel,
    },
    error::{Error, Result},
};

/// How long a verification is remembered for its phone call.
const RETENTION: TimeDelta = TimeDelta::hours(24);

impl Transaction {
    /// Returns the channel that was verified in a phone call: the contact's own, or else that of the
    /// contact data. `call_hash` is that of the call's id.
    pub async fn find_verified_channel(
        &self,
        number: &CustomerNumber,
        call_hash: &str,
        contact_id: ContactId,
        now: DateTime<Utc>,
    ) -> Result<VerifiedChannel> {
        let rows = Entity::find()
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::CallHash.eq(call_hash))
            .filter(
                Condition::any()
                    .add(Column::ContactId.eq(contact_id.0))
                    .add(Column::ContactId.is_null()),
            )
            .filter(Column::EventTime.gt(now - RETENTION))
            .order_by_desc(Column::EventTime)
            .all(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let kind_of = |id| {
            let latest = rows.iter().find(|row| row.contact_id == id);
            latest.map(to_match_kind).transpose()
        };
        if let Some(kind) = kind_of(Some(contact_id.0))? {
            return Ok(VerifiedChannel::Contact(kind));
        }
        Ok(kind_of(None)?.map_or(VerifiedChannel::NotVerified, VerifiedChannel::ContactData))
    }
}

fn to_match_kind(event: &Model) -> Result<MatchKind> {
    let details = to_details(event.details.as_deref())?;
    let kind = details.get(MATCH_DETAIL);
    let kind = kind.and_then(|code| MatchKind::find(code));
    kind.ok_or_else(|| Error::data_loss("audit_events.details"))
}
