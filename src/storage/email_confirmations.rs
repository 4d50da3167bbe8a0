//! Rows of confirmations of e-mail addresses, and the hashes of their tokens.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult, JoinType, QueryFilter, QuerySelect, RelationTrait,
    Set, sea_query::Expr,
};
use uuid::Uuid;

use super::{
    database::Database,
    entity::{
        confirmation_tokens as tokens,
        email_confirmations::{ActiveModel, Column, Entity, Model},
    },
    error::StorageError,
    timeout::with_timeout,
    transaction::Transaction,
};
use crate::{
    domain::{
        contact::Contact,
        email_confirmation::{
            ConfirmationState, ConfirmationToken, EmailConfirmation, REMINDER_LEAD, TokenHash, mask,
        },
        ids::{ConfirmationId, ContactId, CustomerNumber},
    },
    error::{Error, Result},
};

/// The position after which a list continues: a time, and the confirmation within it.
pub(super) type ListPosition = (DateTime<Utc>, ConfirmationId);

impl Database {
    /// Finds the confirmation that a token belongs to.
    pub async fn find_confirmation(
        &self,
        token: &ConfirmationToken,
    ) -> Result<Option<EmailConfirmation>> {
        let number = token.customer_number.as_str();
        let row = Entity::find()
            .join_rev(JoinType::InnerJoin, tokens::Relation::Confirmation.def())
            .filter(tokens::Column::CustomerNumber.eq(number))
            .filter(tokens::Column::TokenHash.eq(token.hash().to_vec()))
            .one(&self.readers);
        let row = with_timeout(async { Ok(row.await.map_err(StorageError::from)?) }).await?;
        row.map(to_confirmation).transpose()
    }

    /// Lists a page of the confirmations that expired by `now`, of any customer, by their expiry,
    /// and the position after which the next page begins.
    pub async fn list_expired_confirmations(
        &self,
        now: DateTime<Utc>,
        after: Option<ListPosition>,
    ) -> Result<(Vec<EmailConfirmation>, Option<ListPosition>)> {
        self.list_pending(EXPIRED_PENDING, now, after).await
    }

    /// Lists a page of the confirmations whose reminder is due at `now`, of any customer, by its
    /// time, and the position after which the next page begins.
    pub async fn list_due_reminders(
        &self,
        now: DateTime<Utc>,
        after: Option<ListPosition>,
    ) -> Result<(Vec<EmailConfirmation>, Option<ListPosition>)> {
        self.list_pending(DUE_REMINDERS, now, after).await
    }

    async fn list_pending(
        &self,
        sql: &str,
        now: DateTime<Utc>,
        after: Option<ListPosition>,
    ) -> Result<(Vec<EmailConfirmation>, Option<ListPosition>)> {
        let (time, id) = after.unwrap_or((DateTime::UNIX_EPOCH, ConfirmationId(Uuid::nil())));
        let values = [now.into(), time.into(), id.0.into()];
        let rows = self.rows_by_index(sql, values).await?;
        let mut confirmations = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in &rows {
            let confirmation = Model::from_query_result(row, "").map_err(StorageError::from)?;
            let confirmation = to_confirmation(confirmation)?;
            let time = row.try_get("", "position").map_err(StorageError::from)?;
            last = Some((time, confirmation.id));
            confirmations.push(confirmation);
        }
        Ok((confirmations, last))
    }
}

const EXPIRED_PENDING: &str = "\
    SELECT customer_number, confirmation_id, contact_id, masked_email, state, expire_time, \
      remind_time, expire_time AS position \
    FROM email_confirmations \
    WHERE state = 'pending' AND expire_time <= $1 AND expire_time >= $2 \
      AND (expire_time, confirmation_id) > ($2, $3) \
    ORDER BY state, expire_time, confirmation_id LIMIT 100";
const DUE_REMINDERS: &str = "\
    SELECT customer_number, confirmation_id, contact_id, masked_email, state, expire_time, \
      remind_time, remind_time AS position \
    FROM email_confirmations \
    WHERE state = 'pending' AND remind_time <= $1 AND remind_time >= $2 \
      AND (remind_time, confirmation_id) > ($2, $3) \
    ORDER BY state, remind_time, confirmation_id LIMIT 100";

impl Transaction {
    /// Finds a confirmation and locks it until the transaction ends.
    pub async fn find_and_lock_confirmation(
        &self,
        number: &CustomerNumber,
        id: ConfirmationId,
    ) -> Result<Option<EmailConfirmation>> {
        let row = Entity::find_by_id((number.as_str().to_owned(), id.0))
            .lock_shared()
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        row.map(to_confirmation).transpose()
    }

    /// Inserts the confirmations of the pending addresses of these contacts.
    pub async fn insert_confirmations(&self, contacts: &[Contact]) -> Result<()> {
        let rows = contacts.iter().filter_map(|contact| {
            let pending = contact.pending_email.as_ref()?;
            Some(ActiveModel {
                customer_number: Set(contact.customer_number.as_str().to_owned()),
                confirmation_id: Set(pending.id.0),
                contact_id: Set(contact.id.0),
                masked_email: Set(mask(&pending.email)),
                state: Set(PENDING.to_owned()),
                expire_time: Set(pending.expire_time),
                remind_time: Set(Some(pending.expire_time - REMINDER_LEAD)),
            })
        });
        self.insert_rows(rows.collect()).await
    }

    /// Sets the state of a pending confirmation. Returns false if it is not pending. Requires the
    /// lock on the customer.
    pub async fn resolve_confirmation(
        &self,
        number: &CustomerNumber,
        id: ConfirmationId,
        state: ConfirmationState,
    ) -> Result<bool> {
        let pending = |row: &Model| row.state == PENDING;
        let new_state = (Column::State, Expr::value(to_text(state)));
        self.update_if(number, id, pending, new_state).await
    }

    /// Claims the reminder, which is then no longer due. Returns false if it was claimed before.
    pub async fn claim_reminder(
        &self,
        number: &CustomerNumber,
        id: ConfirmationId,
    ) -> Result<bool> {
        let due = |row: &Model| row.remind_time.is_some();
        let claimed = (Column::RemindTime, Expr::value(None::<DateTime<Utc>>));
        self.update_if(number, id, due, claimed).await
    }

    /// Checks the condition on the locked row instead of in the statement: the planner could prefer
    /// the partial index of pending or due rows to the primary key while it is small.
    async fn update_if(
        &self,
        number: &CustomerNumber,
        id: ConfirmationId,
        condition: fn(&Model) -> bool,
        (column, value): (Column, Expr),
    ) -> Result<bool> {
        let key = (number.as_str().to_owned(), id.0);
        let row = Entity::find_by_id(key)
            .lock_exclusive()
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        if !row.as_ref().is_some_and(condition) {
            return Ok(false);
        }
        Entity::update_many()
            .col_expr(column, value)
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::ConfirmationId.eq(id.0))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(true)
    }

    /// Inserts the hash of a token that is about to be mailed.
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
            .map_err(StorageError::from)?;
        Ok(())
    }
}

pub(super) const PENDING: &str = "pending";
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
