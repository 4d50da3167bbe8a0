//! Rows of addresses that were entered, and the hashes of their tokens.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult, JoinType, QueryFilter, QuerySelect, RelationTrait,
    Set, sea_query::Expr,
};
use uuid::Uuid;

use super::{
    Database, Transaction, bounded,
    entity::{
        confirmation_tokens as tokens,
        email_confirmations::{ActiveModel, Column, Entity, Model, Relation},
    },
};
use crate::storage::error::Failure;
use crate::{
    domain::{
        contact::Contact,
        email_confirmation::{
            ConfirmationState, ConfirmationToken, EmailConfirmation, PendingEmail, TokenHash, mask,
        },
        ids::{ConfirmationId, ContactId, CustomerNumber},
    },
    error::{Error, Result},
};

/// Where a list goes on: behind this time, and this one of the same time.
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

    /// Some of those, of any customer, whose address was not confirmed until `now`, by their
    /// expiry, from `behind` on, and where to go on.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn list_lapsed_confirmations(
        &self,
        now: DateTime<Utc>,
        behind: Option<Place>,
    ) -> Result<(Vec<EmailConfirmation>, Option<Place>)> {
        self.list_pending(LAPSED, now, behind).await
    }

    /// Some of those, of any customer, whose address is to be reminded at `now`, by the time of
    /// it, from `behind` on, and where to go on.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn list_due_reminders(
        &self,
        now: DateTime<Utc>,
        behind: Option<Place>,
    ) -> Result<(Vec<EmailConfirmation>, Option<Place>)> {
        self.list_pending(DUE_REMINDERS, now, behind).await
    }

    async fn list_pending(
        &self,
        sql: &str,
        now: DateTime<Utc>,
        behind: Option<Place>,
    ) -> Result<(Vec<EmailConfirmation>, Option<Place>)> {
        let (time, id) = behind.unwrap_or((DateTime::UNIX_EPOCH, ConfirmationId(Uuid::nil())));
        let values = [now.into(), time.into(), id.0.into()];
        let rows = self.rows_by_index(sql, values).await?;
        let mut confirmations = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in &rows {
            let confirmation = Model::from_query_result(row, "").map_err(Failure::from)?;
            let confirmation = to_confirmation(confirmation)?;
            let time = row.try_get("", "place").map_err(Failure::from)?;
            last = Some((time, confirmation.id));
            confirmations.push(confirmation);
        }
        Ok((confirmations, last))
    }
}

const LAPSED: &str = "\
    SELECT *, expire_time AS place FROM email_confirmations \
    WHERE state = 'pending' AND expire_time <= $1 AND expire_time >= $2 \
      AND (expire_time, confirmation_id) > ($2, $3) \
    ORDER BY state, expire_time, confirmation_id LIMIT 100";
const DUE_REMINDERS: &str = "\
    SELECT *, remind_time AS place FROM email_confirmations \
    WHERE state = 'pending' AND remind_time <= $1 AND remind_time >= $2 \
      AND (remind_time, confirmation_id) > ($2, $3) \
    ORDER BY state, remind_time, confirmation_id LIMIT 100";

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
        let pending = |row: &Model| row.state == PENDING;
        let settled = (Column::State, Expr::value(to_text(state)));
        self.update_if(number, id, pending, settled).await
    }

    /// Notes that the reminder is no longer due; `false` when somebody else was faster.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn take_reminder(&self, number: &CustomerNumber, id: ConfirmationId) -> Result<bool> {
        let due = |row: &Model| row.remind_time.is_some();
        let taken = (Column::RemindTime, Expr::value(None::<DateTime<Utc>>));
        self.update_if(number, id, due, taken).await
    }

    /// Asked of the row, not of the database: there are indexes of all that are pending or due,
    /// which seem to be as good as the key while few are.
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
            .map_err(Failure::from)?;
        if !row.as_ref().is_some_and(condition) {
            return Ok(false);
        }
        Entity::update_many()
            .col_expr(column, value)
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::ConfirmationId.eq(id.0))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(true)
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
