//! Queues e-mails in the outbox and maintains it. `mail` sends them.

use chrono::{DateTime, Utc};

use super::context::App;
use crate::{
    domain::{
        contact::Contact,
        email_address::EmailAddress,
        ids::ConfirmationId,
        mail::{DEAD_LETTER_RETENTION, MailKind, QueuedMail},
    },
    error::Result,
    observability::metrics::OutboxDepth,
    storage::Transaction,
};

impl App {
    /// Queues an e-mail about `contact` that is sent at `due_time` or later.
    pub(super) async fn queue_mail(
        &self,
        transaction: &Transaction,
        kind: MailKind,
        contact: &Contact,
        recipient: EmailAddress,
        confirmation_id: Option<ConfirmationId>,
        due_time: DateTime<Utc>,
    ) -> Result<()> {
        let now = self.now();
        let id = self.random.uuid_v7(now)?;
        let mail = QueuedMail::new(id, kind, contact, recipient, confirmation_id, now);
        transaction.insert_mail(&mail, due_time).await
    }

    /// Counts the queued e-mails and the dead letters.
    ///
    /// # Errors
    /// Errors of the database.
    pub async fn count_mails(&self) -> Result<OutboxDepth> {
        self.database.count_mails(self.now()).await
    }

    /// Deletes the dead letters whose retention has ended, and returns their number.
    ///
    /// # Errors
    /// Errors of the database.
    pub async fn purge_dead_letters(&self) -> Result<u64> {
        let time = self.now() - DEAD_LETTER_RETENTION;
        self.database.delete_dead_mails_before(time).await
    }
}
