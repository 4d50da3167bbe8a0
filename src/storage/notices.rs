//! Notices of changes in the outbox that are not due yet, to which further changes are added (rule 31).

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};

use super::{
    entity::outbox_mails::{Column, Entity, Model},
    error::StorageError,
    noticed_changes::from_changes,
    outbox::{QUEUED, by_key, to_claimed_mail},
    transaction::Transaction,
};
use crate::{
    domain::{
        ids::{ContactId, CustomerNumber},
        mail::{MailKind, QueuedMail},
    },
    error::Result,
};

impl Transaction {
    /// Lists the notices of a locked customer that are not due at `now`. No worker claims them before.
    ///
    /// A condition on the state or the due time would let PostgreSQL read the queued mails of all
    /// customers by their index.
    pub async fn list_open_notices(
        &self,
        number: &CustomerNumber,
        now: DateTime<Utc>,
    ) -> Result<Vec<QueuedMail>> {
        let rows = Entity::find()
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::Kind.eq(MailKind::ContactsChanged.as_str()))
            .all(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let is_open = |row: &&Model| row.state == QUEUED && row.attempts == 0 && row.due_time > now;
        rows.iter().filter(is_open).map(to_claimed_mail).collect()
    }

    /// Replaces the changes of a notice that is not due.
    pub async fn update_notice(&self, notice: &QueuedMail) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::Changes, Expr::value(from_changes(&notice.changes)?))
            .filter(by_key(notice.customer_number.as_str(), notice.id))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }

    /// Deletes the notices to a contact that no longer may learn of the customer.
    pub async fn delete_notices_to(&self, number: &CustomerNumber, id: ContactId) -> Result<()> {
        Entity::delete_many()
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::ContactId.eq(id.0))
            .filter(Column::Kind.eq(MailKind::ContactsChanged.as_str()))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }
}
