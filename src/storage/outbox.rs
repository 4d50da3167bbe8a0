//! Rows of mails that wait to be sent.
//!
//! A worker claims some: `due_time` then says when the attempt counts as lost, and
//! `attempts` which attempt it is. Who was too slow finds another number there, and
//! changes nothing (fencing).

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, Set,
    sea_query::{Expr, LockBehavior, LockType},
};

use super::{
    Database, Transaction,
    contacts::to_locale,
    entity::outbox_mails::{ActiveModel, Column, Entity, Model},
};
use crate::storage::error::Failure;
use crate::{
    domain::{
        email_address::EmailAddress,
        ids::{ConfirmationId, ContactId, CustomerNumber},
        mail::{MAX_ATTEMPTS, MailKind, QueuedMail},
    },
    error::{Error, Result},
    observability::metrics::OutboxDepth,
};

const QUEUED: &str = "queued";
pub(super) const DEAD: &str = "dead";

impl Database {
    /// How many mails wait at `now`, and since when, and how many were given up; up to 100,000 each.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn count_mails(&self, now: DateTime<Utc>) -> Result<OutboxDepth> {
        let (waiting, oldest) = self.count_of(QUEUED, now).await?;
        let (dead, _) = self.count_of(DEAD, now).await?;
        let age = oldest.and_then(|oldest| (now - oldest).to_std().ok());
        Ok(OutboxDepth {
            waiting,
            dead,
            oldest_age: age.unwrap_or_default(),
        })
    }

    async fn count_of(
        &self,
        state: &str,
        now: DateTime<Utc>,
    ) -> Result<(u32, Option<DateTime<Utc>>)> {
        let row = self.rows_by_index(COUNT, [state.into(), now.into()]);
        let row = row.await?.pop();
        let row = row.ok_or_else(|| Error::internal("mails are not counted"))?;
        let count: i64 = row.try_get_by_index(0).map_err(Failure::from)?;
        let oldest = row.try_get_by_index(1).map_err(Failure::from)?;
        Ok((u32::try_from(count).unwrap_or(u32::MAX), oldest))
    }
}

/// Of more only those that are due first. A limit may delay the first attempt: such a mail does not
/// wait yet.
const COUNT: &str = "\
    SELECT count(*) FILTER (WHERE due_time <= $2 OR attempts > 0), \
      min(create_time) FILTER (WHERE due_time <= $2 OR attempts > 0) \
      FROM (SELECT create_time, due_time, attempts FROM outbox_mails \
        WHERE state = $1 ORDER BY state, due_time LIMIT 100000) AS mails";

impl Transaction {
    /// Queues a mail that is first tried at `due_time`.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn insert_mail(&self, mail: &QueuedMail, due_time: DateTime<Utc>) -> Result<()> {
        let row = ActiveModel {
            customer_number: Set(mail.customer_number.as_str().to_owned()),
            mail_id: Set(mail.id),
            kind: Set(mail.kind.as_str().to_owned()),
            contact_id: Set(mail.contact_id.0),
            confirmation_id: Set(mail.confirmation_id.map(|id| id.0)),
            recipient: Set(mail.recipient.as_str().to_owned()),
            display_name: Set(mail.display_name.clone()),
            locale: Set(mail.locale.as_str().to_owned()),
            state: Set(QUEUED.to_owned()),
            attempts: Set(mail.attempt),
            due_time: Set(due_time),
            failure: Set(None),
            create_time: Set(mail.create_time),
        };
        Entity::insert(row)
            .exec_without_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }

    /// Claims up to `limit` mails of any customer that are due at `now`, the oldest first;
    /// each is due again at `lost_time`, unless its attempt ends before. On PostgreSQL
    /// several workers claim at once without waiting for one another.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn claim_mails(
        &self,
        now: DateTime<Utc>,
        lost_time: DateTime<Utc>,
        limit: u64,
    ) -> Result<Vec<QueuedMail>> {
        self.go_by_indexes().await?;
        let due = Entity::find()
            .filter(Column::State.eq(QUEUED))
            .filter(Column::DueTime.lte(now))
            // A newer version may have queued others; they wait for it.
            .filter(Column::Kind.is_in(MailKind::ALL.map(MailKind::as_str)))
            .order_by_asc(Column::DueTime)
            .limit(limit)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .all(&self.inner)
            .await
            .map_err(Failure::from)?;
        let mut claimed = Vec::with_capacity(due.len());
        for row in due {
            match to_claimed_mail(&row) {
                // Its last attempt took its process along, so that none could bury it.
                Ok(_) if row.attempts >= MAX_ATTEMPTS => {
                    tracing::error!(id = %row.mail_id, "a mail was given up");
                    self.bury(&row, row.failure.clone()).await?;
                }
                Ok(mail) => claimed.push(mail),
                Err(error) => {
                    // Or the rest would never get past it.
                    tracing::error!(id = %row.mail_id, %error, "a queued mail was given up");
                    self.bury(&row, Some("unreadable".to_owned())).await?;
                }
            }
        }
        if claimed.is_empty() {
            return Ok(claimed);
        }
        let these = claimed.iter().fold(Condition::any(), |these, mail| {
            these.add(this(mail.customer_number.as_str(), mail.id))
        });
        Entity::update_many()
            .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
            .col_expr(Column::DueTime, Expr::value(lost_time))
            .filter(these)
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(claimed)
    }

    /// Whether a mail is still claimed for this attempt.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn is_claimed(&self, mail: &QueuedMail) -> Result<bool> {
        let row = Entity::find()
            .filter(claimed(mail))
            .one(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(row.is_some())
    }

    /// Keeps a claimed mail claimed until `lost_time`; `false` when the claim was lost.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn renew_claim(&self, mail: &QueuedMail, lost_time: DateTime<Utc>) -> Result<bool> {
        let renewed = Entity::update_many()
            .col_expr(Column::DueTime, Expr::value(lost_time))
            .filter(claimed(mail))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(renewed.rows_affected == 1)
    }

    /// Whoever still tries it knows another number of attempts.
    async fn bury(&self, row: &Model, failure: Option<String>) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::State, Expr::value(DEAD))
            .col_expr(Column::Failure, Expr::value(failure))
            .col_expr(
                Column::Attempts,
                Expr::value(row.attempts.saturating_add(1)),
            )
            .filter(this(&row.customer_number, row.mail_id))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }

    /// Deletes a claimed mail that was sent, or that need not be sent any more; `false`
    /// when the claim was lost.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_mail(&self, mail: &QueuedMail) -> Result<bool> {
        let deleted = Entity::delete_many()
            .filter(claimed(mail))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(deleted.rows_affected == 1)
    }

    /// Puts a claimed mail back, to be tried again at `due_time`; `false` when the claim
    /// was lost. `failure` is a code, free of personal data.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn put_mail_back(
        &self,
        mail: &QueuedMail,
        due_time: DateTime<Utc>,
        failure: &str,
    ) -> Result<bool> {
        self.update_claimed(mail, QUEUED, due_time, failure).await
    }

    /// Lays a claimed mail aside for good; `false` when the claim was lost.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn bury_mail(
        &self,
        mail: &QueuedMail,
        now: DateTime<Utc>,
        failure: &str,
    ) -> Result<bool> {
        self.update_claimed(mail, DEAD, now, failure).await
    }

    async fn update_claimed(
        &self,
        mail: &QueuedMail,
        state: &str,
        due_time: DateTime<Utc>,
        failure: &str,
    ) -> Result<bool> {
        let updated = Entity::update_many()
            .col_expr(Column::State, Expr::value(state))
            .col_expr(Column::DueTime, Expr::value(due_time))
            .col_expr(Column::Failure, Expr::value(failure))
            .filter(claimed(mail))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(updated.rows_affected == 1)
    }
}

fn this(customer_number: &str, mail_id: uuid::Uuid) -> Condition {
    Condition::all()
        .add(Column::CustomerNumber.eq(customer_number))
        .add(Column::MailId.eq(mail_id))
}

/// A dead letter has another number of attempts than anybody who still tries it knows. Its state is
/// not asked for: there is an index of all that wait, which seems to be as good as the key while few
/// do.
fn claimed(mail: &QueuedMail) -> Condition {
    this(mail.customer_number.as_str(), mail.id).add(Column::Attempts.eq(mail.attempt))
}

/// The row as it was before the claim, and what the claim made of it.
fn to_claimed_mail(row: &Model) -> Result<QueuedMail> {
    let kind = MailKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == row.kind)
        .ok_or_else(|| Error::data_loss("outbox_mails.kind"))?;
    Ok(QueuedMail {
        customer_number: CustomerNumber::from_stored(row.customer_number.clone()),
        id: row.mail_id,
        kind,
        contact_id: ContactId(row.contact_id),
        confirmation_id: row.confirmation_id.map(ConfirmationId),
        recipient: EmailAddress::from_stored(row.recipient.clone()),
        display_name: row.display_name.clone(),
        locale: to_locale(&row.locale)?,
        create_time: row.create_time,
        attempt: row.attempts.saturating_add(1),
    })
}
