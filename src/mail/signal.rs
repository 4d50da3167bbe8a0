//! The word that a mail was queued, for whoever sends it in this process. A hint
//! only: mails of other processes are found by asking the database now and then.

use std::sync::Arc;

use tokio::sync::Notify;

/// Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MailSignal(Arc<Notify>);

impl MailSignal {
    /// Waits until it is raised; one raised before counts.
    pub async fn raised(&self) {
        self.0.notified().await;
    }

    /// Raises it, if there is a reason.
    pub fn raise_if(&self, mails_queued: bool) {
        if mails_queued {
            self.0.notify_one();
        }
    }
}
