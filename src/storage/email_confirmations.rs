//! Rows of addresses that were entered, and the hashes of their tokens.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, RelationTrait, Set,
    sea_query::{Condition, Expr},
};

use super::{
    Database, Transaction, bounded,
    entity::{
        confirmation_tokens as tokens,
        email_confirmations::{ActiveModel, Column, Entity, Model, Relation},
    },
    failure::Failure,
};
use crate::{
    domain::{
        contact::{Contact, ContactId},
        customer::CustomerNumber,
        email_confirmation::{
            ConfirmationId, ConfirmationState, ConfirmationToken, EmailConfirmation, PendingEmail,
            TokenHash, mask,
        },
    },
    error::{Error, Result},
};

/// Where a list goes on: behind this expiry, and this one of the same expiry.
pub(super) type Place = (DateTime<Utc>, ConfirmationId);

impl Database {
    /// The entering of an address to which a token belongs.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_confirmation(
        &self,
        token: &ConfirmationToken,
    ) -> Result<Option<EmailConfirmation>> {
        let number = token.customer_number.as_str();
        let row = Entity::find()
            .join(JoinType::InnerJoin, Relation::Tokens.def())
            .filter(tokens::Column::CustomerNumber.eq(number))
            .filter(tokens::Column::TokenHash.eq(token.hash().to_vec()))
            .one(&self.readers);
        let row = bounded(async { Ok(row.await.map_err(Failure::from)?) }).await?;
        row.map(to_confirmation).transpose()
    }

    /// Up to `limit` of those, of any customer, whose address was not confirmed until
    /// `now`, by their expiry, from `behind` on.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn list_lapsed_confirmations(
        &self,
        now: DateTime<Utc>,
        behind: Option<Place>,
        limit: u64,
    ) -> Result<Vec<EmailConfirmation>> {
        let lapsed = Column::ExpireTime.lte(now).into();
        self.list_pending(lapsed, behind, limit).await
    }

    /// Up to `limit` of those, of any customer, whose address is to be reminded at `now`,
    /// by their expiry, from `behind` on.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn list_due_reminders(
        &self,
        now: DateTime<Utc>,
        behind: Option<Place>,
        limit: u64,
    ) -> Result<Vec<EmailConfirmation>> {
        let due = Column::RemindTime.lte(now).into();
        self.list_pending(due, behind, limit).await
    }

    async fn list_pending(
        &self,
        condition: Condition,
        behind: Option<Place>,
        limit: u64,
    ) -> Result<Vec<EmailConfirmation>> {
        let mut query = Entity::find()
            .filter(Column::State.eq(PENDING))
            .filter(condition);
        if let Some((time, id)) = behind {
            let same_time = Condition::all()
                .add(Column::ExpireTime.eq(time))
                .add(Column::ConfirmationId.gt(id.0));
            query = query.filter(
                Condition::any()
                    .add(Column::ExpireTime.gt(time))
                    .add(same_time),
            );
        }
        let rows = query
            .order_by_asc(Column::ExpireTime)
            .order_by_asc(Column::ConfirmationId)
            .limit(limit)
            .all(&self.readers);
        let rows = bounded(async { Ok(rows.await.map_err(Failure::from)?) }).await?;
        rows.into_iter().map(to_confirmation).collect()
    }
}

impl Transaction {
    /// The entering of an address, which stays until the transaction ends.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_and_keep_confirmation(
        &self,
        number: &CustomerNumber,
        id: ConfirmationId,
    ) -> Result<Option<EmailConfirmation>> {
        let row = Entity::find_by_id((number.as_str().to_owned(), id.0))
            .lock_shared()
            .one(&self.inner)
            .await
            .map_err(Failure::from)?;
        row.map(to_confirmation).transpose()
    }

    /// Writes down that an address was entered for `contact`, and when it is to be reminded.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn insert_confirmation(
        &self,
        contact: &Contact,
        pending: &PendingEmail,
        remind_time: DateTime<Utc>,
    ) -> Result<()> {
        let row = ActiveModel {
            customer_number: Set(contact.customer_number.as_str().to_owned()),
            confirmation_id: Set(pending.id.0),
            contact_id: Set(contact.id.0),
            masked_email: Set(mask(&pending.email)),
            state: Set(PENDING.to_owned()),
            expire_time: Set(pending.expire_time),
            remind_time: Set(Some(remind_time)),
        };
        Entity::insert(row)
            .exec_without_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }

    /// Says what became of an address that was pending; `false` when it was not. To be
    /// called under the customer's lock.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn settle_confirmation(
        &self,
        number: &CustomerNumber,
        id: ConfirmationId,
        state: ConfirmationState,
    ) -> Result<bool> {
        let updated = Entity::update_many()
            .col_expr(Column::State, Expr::value(to_text(state)))
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::ConfirmationId.eq(id.0))
            .filter(Column::State.eq(PENDING))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(updated.rows_affected == 1)
    }

    /// Notes that the reminder is no longer due; `false` when somebody else was faster.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn take_reminder(&self, number: &CustomerNumber, id: ConfirmationId) -> Result<bool> {
        let updated = Entity::update_many()
            .col_expr(Column::RemindTime, Expr::value(None::<DateTime<Utc>>))
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::ConfirmationId.eq(id.0))
            .filter(Column::RemindTime.is_not_null())
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(updated.rows_affected == 1)
    }

    /// Keeps the hash of a token that is about to be mailed.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn insert_confirmation_token(
        &self,
        number: &CustomerNumber,
        id: ConfirmationId,
        hash: TokenHash,
    ) -> Result<()> {
        let row = tokens::ActiveModel {
            customer_number: Set(number.as_str().to_owned()),
            token_hash: Set(hash.to_vec()),
            confirmation_id: Set(id.0),
        };
        tokens::Entity::insert(row)
            .exec_without_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }

    /// Forgets the links, of any customer, that expired before `time`, and gives their count.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_confirmations_before(&self, time: DateTime<Utc>) -> Result<u64> {
        let deleted = Entity::delete_many()
            .filter(Column::State.is_in([CONFIRMED, EXPIRED, SUPERSEDED]))
            .filter(Column::ExpireTime.lte(time))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(deleted.rows_affected)
    }
}

const PENDING: &str = "pending";
const CONFIRMED: &str = "confirmed";
const EXPIRED: &str = "expired";
const SUPERSEDED: &str = "superseded";

const fn to_text(state: ConfirmationState) -> &'static str {
    match state {
        ConfirmationState::Pending => PENDING,
        ConfirmationState::Confirmed => CONFIRMED,
        ConfirmationState::Expired => EXPIRED,
        ConfirmationState::Superseded => SUPERSEDED,
    }
}

pub(super) fn to_confirmation(row: Model) -> Result<EmailConfirmation> {
    let recorded_state = match row.state.as_str() {
        PENDING => ConfirmationState::Pending,
        CONFIRMED => ConfirmationState::Confirmed,
        EXPIRED => ConfirmationState::Expired,
        SUPERSEDED => ConfirmationState::Superseded,
        _ => return Err(Error::data_loss("email_confirmations.state")),
    };
    Ok(EmailConfirmation {
        id: ConfirmationId(row.confirmation_id),
        customer_number: CustomerNumber::from_stored(row.customer_number),
        contact_id: ContactId(row.contact_id),
        masked_email: row.masked_email,
        expire_time: row.expire_time,
        recorded_state,
    })
}
