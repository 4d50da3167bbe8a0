//! Rows of the outbox: queued e-mails and dead letters.
//!
//! A worker reads the due rows without a lock and claims each by an update that names the number of
//! attempts that it read: of concurrent workers, one succeeds. `due_time` is then the end of the
//! lease, and `attempts` the number of the attempt. A worker that loses its lease finds another
//! number and changes nothing (fencing). No lock spans customers, as a distributed database has none.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter, Set, sea_query::Expr};
use uuid::Uuid;

use super::{
    columns::to_locale,
    database::Database,
    entity::outbox_mails::{ActiveModel, Column, Entity, Model},
    error::StorageError,
    noticed_changes::{from_changes, to_changes},
    transaction::{Outcome, Transaction},
};
use crate::{
    domain::{
        email_address::EmailAddress,
        ids::{ConfirmationId, ContactId, CustomerNumber},
        mail::{MAX_ATTEMPTS, MailKind, QueuedMail},
    },
    error::{Error, Result},
    observability::metrics::OutboxDepth,
};

pub(super) const QUEUED: &str = "queued";
pub(super) const DEAD: &str = "dead";

/// An e-mail that was due when it was read, without a lock.
#[derive(Clone, Debug)]
pub struct DueMail {
    customer_number: String,
    id: Uuid,
    /// The number of attempts, which the next claim increments.
    attempts: i16,
}

impl Database {
    /// Lists up to `limit` e-mails of any customer that are due at `now`, the oldest first, without
    /// a lock.
    pub async fn list_due_mails(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<DueMail>> {
        let values = [now.into(), i64::from(limit).into()];
        let rows = self.rows_by_index(&DUE, values).await?;
        let due = rows.iter().map(|row| {
            Ok(DueMail {
                customer_number: row.try_get_by_index(0)?,
                id: row.try_get_by_index(1)?,
                attempts: row.try_get_by_index(2)?,
            })
        });
        let due: std::result::Result<_, DbErr> = due.collect();
        Ok(due.map_err(StorageError::from)?)
    }

    /// Claims an e-mail with a lease until `lease_end`. Returns `None` if another worker claimed it
    /// first, or if it became a dead letter.
    pub async fn claim_mail(
        &self,
        due: &DueMail,
        lease_end: DateTime<Utc>,
    ) -> Result<Option<QueuedMail>> {
        let due = due.clone();
        self.transaction(move |transaction| {
            let due = due.clone();
            Box::pin(async move {
                let claimed = transaction.claim_mail(&due, lease_end).await?;
                Ok(Outcome::Commit(claimed))
            })
        })
        .await
    }

    /// Counts the e-mails that are due at `now` and the dead letters, up to 100,000 each, and returns
    /// the age of the oldest one that is due.
    pub async fn count_mails(&self, now: DateTime<Utc>) -> Result<OutboxDepth> {
        let (waiting, oldest) = self.count_in_state(QUEUED, now).await?;
        let (dead, _) = self.count_in_state(DEAD, now).await?;
        let age = oldest.and_then(|oldest| (now - oldest).to_std().ok());
        Ok(OutboxDepth {
            waiting,
            dead,
            oldest_age: age.unwrap_or_default(),
        })
    }

    async fn count_in_state(
        &self,
        state: &str,
        now: DateTime<Utc>,
    ) -> Result<(u32, Option<DateTime<Utc>>)> {
        let row = self.rows_by_index(COUNT, [state.into(), now.into()]);
        let row = row.await?.pop();
        let row = row.ok_or_else(|| Error::internal("a count returned no row"))?;
        let count: i64 = row.try_get_by_index(0).map_err(StorageError::from)?;
        let oldest = row.try_get_by_index(1).map_err(StorageError::from)?;
        Ok((u32::try_from(count).unwrap_or(u32::MAX), oldest))
    }
}

/// Counts the first 100,000 by due time. An e-mail whose first attempt was delayed by a limit is not
/// waiting yet.
const COUNT: &str = "\
    SELECT count(*) FILTER (WHERE due_time <= $2 OR attempts > 0), \
      min(create_time) FILTER (WHERE due_time <= $2 OR attempts > 0) \
      FROM (SELECT create_time, due_time, attempts FROM outbox_mails \
        WHERE state = $1 ORDER BY state, due_time LIMIT 100000) AS mails";

/// Kinds that a newer version queued are left to it.
static DUE: LazyLock<String> = LazyLock::new(|| {
    let kinds = MailKind::ALL.map(|kind| format!("'{}'", kind.as_str()));
    format!(
        "SELECT customer_number, mail_id, attempts FROM outbox_mails \
         WHERE state = '{QUEUED}' AND due_time <= $1 AND kind IN ({}) \
         ORDER BY state, due_time LIMIT $2",
        kinds.join(", ")
    )
});

impl Transaction {
    /// Queues an e-mail whose first attempt is at `due_time`.
    pub async fn insert_mail(&self, mail: &QueuedMail, due_time: DateTime<Utc>) -> Result<()> {
        self.insert_mails([(mail, due_time)]).await
    }

    /// Queues e-mails with their due times.
    pub async fn insert_mails<'m>(
        &self,
        mails: impl IntoIterator<Item = (&'m QueuedMail, DateTime<Utc>)>,
    ) -> Result<()> {
        let rows = mails.into_iter().map(|(mail, due_time)| {
            Ok(ActiveModel {
                customer_number: Set(mail.customer_number.as_str().to_owned()),
                mail_id: Set(mail.id),
                kind: Set(mail.kind.as_str().to_owned()),
                contact_id: Set(mail.contact_id.map(|id| id.0)),
                confirmation_id: Set(mail.confirmation_id.map(|id| id.0)),
                recipient: Set(mail.recipient.as_str().to_owned()),
                display_name: Set(mail.display_name.clone()),
                locale: Set(mail.locale.as_str().to_owned()),
                changes: Set(from_changes(&mail.changes)?),
                state: Set(QUEUED.to_owned()),
                attempts: Set(mail.attempt),
                due_time: Set(due_time),
                failure: Set(None),
                create_time: Set(mail.create_time),
            })
        });
        self.insert_rows(rows.collect::<Result<_>>()?).await
    }

    /// Claims an e-mail with a lease until `lease_end`. Returns `None` if another worker claimed it
    /// first, or if it became a dead letter: after the last attempt, or because its row is
    /// unreadable.
    async fn claim_mail(
        &self,
        due: &DueMail,
        lease_end: DateTime<Utc>,
    ) -> Result<Option<QueuedMail>> {
        if due.attempts >= MAX_ATTEMPTS {
            self.dead_letter_exhausted(due).await?;
            return Ok(None);
        }
        let claimed = Entity::update_many()
            .col_expr(Column::Attempts, Expr::value(due.attempts + 1))
            .col_expr(Column::DueTime, Expr::value(lease_end))
            .filter(still_due(due))
            .exec_with_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let Some(row) = claimed.into_iter().next() else {
            return Ok(None);
        };
        match to_claimed_mail(&row) {
            Ok(mail) => Ok(Some(mail)),
            Err(error) => {
                // Otherwise it would be claimed again forever.
                tracing::error!(id = %row.mail_id, %error, "mail dead-lettered: unreadable row");
                Entity::update_many()
                    .col_expr(Column::State, Expr::value(DEAD))
                    .col_expr(Column::Failure, Expr::value("unreadable"))
                    .filter(by_key(&row.customer_number, row.mail_id))
                    .exec(&self.inner)
                    .await
                    .map_err(StorageError::from)?;
                Ok(None)
            }
        }
    }

    /// Dead-letters an e-mail whose process died in the last attempt, and fences a worker that still
    /// has an old claim.
    async fn dead_letter_exhausted(&self, due: &DueMail) -> Result<()> {
        let attempts = due.attempts.saturating_add(1);
        let updated = Entity::update_many()
            .col_expr(Column::State, Expr::value(DEAD))
            .col_expr(Column::Attempts, Expr::value(attempts))
            .filter(still_due(due))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        if updated.rows_affected == 1 {
            tracing::error!(id = %due.id, "mail dead-lettered: attempts exhausted");
        }
        Ok(())
    }

    /// Returns true if the e-mail is still claimed for this attempt.
    pub async fn is_claimed(&self, mail: &QueuedMail) -> Result<bool> {
        let row = Entity::find()
            .filter(claimed(mail))
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(row.is_some())
    }

    /// Extends the lease until `lease_end`. Returns false if the claim was lost.
    pub async fn renew_claim(&self, mail: &QueuedMail, lease_end: DateTime<Utc>) -> Result<bool> {
        let renewed = Entity::update_many()
            .col_expr(Column::DueTime, Expr::value(lease_end))
            .filter(claimed(mail))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(renewed.rows_affected == 1)
    }

    /// Deletes a claimed e-mail that was sent or became obsolete. Returns false if the claim was
    /// lost.
    pub async fn delete_mail(&self, mail: &QueuedMail) -> Result<bool> {
        let deleted = Entity::delete_many()
            .filter(claimed(mail))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(deleted.rows_affected == 1)
    }

    /// Schedules the next attempt of a claimed e-mail at `due_time`. Returns false if the claim was
    /// lost. `failure` is a code, free of personal data.
    pub async fn reschedule(
        &self,
        mail: &QueuedMail,
        due_time: DateTime<Utc>,
        failure: &str,
    ) -> Result<bool> {
        self.update_claimed(mail, QUEUED, due_time, failure).await
    }

    /// Makes a claimed e-mail a dead letter. Returns false if the claim was lost.
    pub async fn dead_letter(
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
            .map_err(StorageError::from)?;
        Ok(updated.rows_affected == 1)
    }
}

pub(super) fn by_key(customer_number: &str, mail_id: Uuid) -> Condition {
    Condition::all()
        .add(Column::CustomerNumber.eq(customer_number))
        .add(Column::MailId.eq(mail_id))
}

/// Selects a queued e-mail that was not claimed since it was read. The state is compared by an
/// inequality: the planner could prefer its index to the key while few rows are queued.
fn still_due(due: &DueMail) -> Condition {
    by_key(&due.customer_number, due.id)
        .add(Column::Attempts.eq(due.attempts))
        .add(Column::State.ne(DEAD))
}

/// Selects an e-mail by its key and attempt, which fences lost claims and dead letters. The state is
/// not part of the condition, for the same reason.
fn claimed(mail: &QueuedMail) -> Condition {
    by_key(mail.customer_number.as_str(), mail.id).add(Column::Attempts.eq(mail.attempt))
}

/// Creates the claimed e-mail from its row.
pub(super) fn to_claimed_mail(row: &Model) -> Result<QueuedMail> {
    let kind = MailKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == row.kind)
        .ok_or_else(|| Error::data_loss("outbox_mails.kind"))?;
    Ok(QueuedMail {
        customer_number: CustomerNumber::from_stored(row.customer_number.clone()),
        id: row.mail_id,
        kind,
        contact_id: row.contact_id.map(ContactId),
        confirmation_id: row.confirmation_id.map(ConfirmationId),
        recipient: EmailAddress::from_stored(row.recipient.clone()),
        display_name: row.display_name.clone(),
        locale: to_locale(&row.locale, "outbox_mails.locale")?,
        changes: to_changes(row.changes.as_deref())?,
        create_time: row.create_time,
        attempt: row.attempts,
    })
}
