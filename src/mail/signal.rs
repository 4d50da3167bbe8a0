//! The signal that wakes the outbox worker of this process when an e-mail is queued. It is only a
//! hint: e-mails of other instances are found by polling.

use std::sync::Arc;

use tokio::sync::Notify;

/// The signal. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MailSignal(Arc<Notify>);

impl MailSignal {
    /// Waits until the signal is raised; a signal since the last call counts.
    pub async fn raised(&self) {
        self.0.notified().await;
    }

    /// Raises the signal if `mails_queued`.
    pub fn raise_if(&self, mails_queued: bool) {
        if mails_queued {
            self.0.notify_one();
        }
    }
}
