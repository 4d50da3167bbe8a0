//! Exports and erases everything that is on file about a customer (rule 26).

use std::{sync::atomic::Ordering, time::Duration};

use super::context::App;
use crate::{
    crypto::pseudonym,
    domain::{
        audit::{Actor, AuditEvent, EventKind, EventSortKey},
        export::Export,
        ids::CustomerNumber,
    },
    error::{Error, Result},
    storage::{FeedLock, InboxRange, Outcome, Transaction},
};

/// The number of events that are read at once.
const EXPORT_PAGE_SIZE: u64 = 5_000;
/// How long an erasure waits until its events are sequenced.
const SEQUENCING_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an erasure waits for its files to be cleaned; cleaning continues in the background.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(2);
const CLEANUP_ATTEMPTS: u32 = 20;
const CLEANUP_PAUSE: Duration = Duration::from_millis(100);

impl App {
    /// Exports everything on file about a customer, and records that it was exported.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`].
    pub async fn export_customer(
        &self,
        actor: &Actor,
        customer_number: CustomerNumber,
    ) -> Result<Export> {
        let (app, actor) = (self.clone(), actor.clone());
        let number = customer_number.clone();
        let (mut export, last) = self
            .database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, actor, customer_number) = (app.clone(), actor.clone(), number.clone());
                Box::pin(async move {
                    let locked = transaction.lock_customer(&customer_number).await?;
                    let kind = EventKind::CustomerExported;
                    let event = app.event(&locked, &actor, kind, None, &[])?;
                    transaction.insert_audit_event(&event).await?;
                    let mut export = transaction.load_export(&locked).await?;
                    let now = app.now();
                    let contacts = export.contacts.into_iter();
                    export.contacts = contacts.map(|contact| contact.as_of(now)).collect();
                    Ok(Outcome::Commit((export, event.sort_key())))
                })
            })
            .await?;
        export.events = self.list_events_until(&customer_number, last).await?;
        Ok(export)
    }

    /// Lists the events up to and including `last`. Stored events do not change, so that no
    /// transaction is needed.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`] if the customer is erased during the export.
    async fn list_events_until(
        &self,
        customer_number: &CustomerNumber,
        last: EventSortKey,
    ) -> Result<Vec<AuditEvent>> {
        let (mut events, mut after) = (Vec::new(), EventSortKey::FIRST);
        while after < last {
            let page = self
                .database
                .list_oldest_audit_events(customer_number, after, EXPORT_PAGE_SIZE)
                .await?;
            after = page
                .last()
                .map(AuditEvent::sort_key)
                .ok_or(Error::CustomerNotFound)?;
            events.extend(page.into_iter().filter(|event| event.sort_key() <= last));
        }
        Ok(events)
    }

    /// Erases a customer with everything on file about it. Its audit log is kept under a
    /// pseudonym, and records the erasure.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`].
    pub async fn erase_customer(
        &self,
        actor: &Actor,
        customer_number: CustomerNumber,
    ) -> Result<()> {
        let (app, actor) = (self.clone(), actor.clone());
        // In a task of its own: the files have to be cleaned even if the client disconnects.
        let erasing = tokio::spawn(async move {
            app.erase_rows(&actor, &customer_number).await?;
            app.sequence_erased_events(&customer_number).await;
            let cleaning =
                tokio::spawn(async move { app.clean_up_after_erasure(&customer_number).await });
            if tokio::time::timeout(CLEANUP_TIMEOUT, cleaning)
                .await
                .is_err()
            {
                tracing::info!("cleanup after an erasure continues in the background");
            }
            Ok(())
        });
        erasing
            .await
            .map_err(|_| Error::internal("the task of an erasure panicked"))?
    }

    async fn erase_rows(&self, actor: &Actor, customer_number: &CustomerNumber) -> Result<()> {
        let pseudonyms = self.pseudonyms(customer_number);
        let Some(newest) = pseudonyms.first() else {
            return Err(Error::internal("no service key is configured"));
        };
        // A long audit log is renamed in batches. An interrupted erasure continues where it ended.
        while self.database.has_many_events(customer_number).await? {
            if self
                .pseudonymize_some_events(customer_number, newest)
                .await?
                == 0
            {
                break;
            }
        }
        let (app, actor) = (self.clone(), actor.clone());
        let number = customer_number.clone();
        self.database
            .customer_transaction(customer_number, move |transaction| {
                let (app, actor, customer_number) = (app.clone(), actor.clone(), number.clone());
                Box::pin(async move {
                    app.erase_within(transaction, &actor, &customer_number)
                        .await?;
                    Ok(Outcome::Commit(()))
                })
            })
            .await
    }

    async fn pseudonymize_some_events(
        &self,
        customer_number: &CustomerNumber,
        pseudonym: &CustomerNumber,
    ) -> Result<u64> {
        let (number, pseudonym) = (customer_number.clone(), pseudonym.clone());
        self.database
            .customer_transaction(customer_number, move |transaction| {
                let (customer_number, pseudonym) = (number.clone(), pseudonym.clone());
                Box::pin(async move {
                    transaction.lock_customer(&customer_number).await?;
                    let renamed = transaction
                        .pseudonymize_some_events(&customer_number, &pseudonym)
                        .await?;
                    Ok(Outcome::Commit(renamed))
                })
            })
            .await
    }

    async fn erase_within(
        &self,
        transaction: &Transaction,
        actor: &Actor,
        customer_number: &CustomerNumber,
    ) -> Result<()> {
        let mut locked = transaction.lock_customer(customer_number).await?;
        transaction.delete_customer(customer_number).await?;
        let pseudonyms = self.pseudonyms(customer_number);
        let Some((newest, older)) = pseudonyms.split_first() else {
            return Err(Error::internal("no service key is configured"));
        };
        transaction
            .pseudonymize_waiting_events(customer_number, newest)
            .await?;
        transaction
            .pseudonymize_events(customer_number, newest, older)
            .await?;
        locked.customer.number = newest.clone();
        let event = self.event(&locked, actor, EventKind::CustomerErased, None, &[])?;
        let nonce = self.random.bytes()?;
        let sealed = pseudonym::seal(&self.service_keys, customer_number, nonce)?;
        transaction
            .insert_erasure_event(&event, customer_number, sealed)
            .await
    }

    /// Sequences the events of an erased customer, which renames those in the change feed. The
    /// erasure itself does not lock the feed. If this fails, the sequencer does it within a second.
    async fn sequence_erased_events(&self, customer_number: &CustomerNumber) {
        let range = InboxRange::Customer(customer_number.clone());
        let sequencing = self.sequence(range, FeedLock::Wait);
        match tokio::time::timeout(SEQUENCING_TIMEOUT, sequencing).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "events of an erased customer not sequenced yet");
            }
            Err(_) => tracing::warn!("sequencing of an erased customer's events timed out"),
        }
    }

    /// Returns true if the customer was erased. A number that is not on file without an erasure
    /// may belong to another database that shares the mail folder.
    async fn is_erased(&self, customer_number: &CustomerNumber) -> Result<bool> {
        let found = self.database.find_customer(customer_number).await?;
        Ok(found.is_none() && self.has_erased_events(customer_number).await?)
    }

    /// Deletes the customer's mails from the mail folder, and overwrites deleted data in the
    /// database's files. [`clean_files`](Self::clean_files) retries what fails.
    async fn clean_up_after_erasure(&self, customer_number: &CustomerNumber) {
        if let Some(folder) = &self.mail_folder
            && folder.delete_mails_of(customer_number).await.is_err()
        {
            tracing::warn!("mails of an erased customer not deleted yet");
        }
        self.has_deleted.store(true, Ordering::Relaxed);
        for _ in 0..CLEANUP_ATTEMPTS {
            match self.overwrite_deleted_rows().await {
                Ok(()) => return,
                Err(Error::Conflict | Error::DatabaseUnavailable) => {
                    tokio::time::sleep(CLEANUP_PAUSE).await;
                }
                Err(_) => break,
            }
        }
        tracing::warn!("deleted data not overwritten in the database files yet");
    }

    async fn overwrite_deleted_rows(&self) -> Result<()> {
        self.database.overwrite_deleted_rows().await?;
        self.has_deleted.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Deletes files that contain data of customers that any instance has erased, and returns the
    /// number of these customers.
    ///
    /// # Errors
    /// [`Error::Internal`] if the mail folder cannot be cleaned.
    pub async fn clean_files(&self) -> Result<u64> {
        if self.has_deleted.load(Ordering::Relaxed) {
            self.overwrite_deleted_rows().await?;
        }
        let Some(folder) = &self.mail_folder else {
            return Ok(0);
        };
        let failed = |_| Error::internal("the mail folder cannot be cleaned");
        let mut count = 0;
        for customer_number in folder.customers().await.map_err(failed)? {
            if self.is_erased(&customer_number).await? {
                let deleted = folder.delete_mails_of(&customer_number).await;
                deleted.map_err(failed)?;
                count += 1;
            }
        }
        Ok(count)
    }
}
