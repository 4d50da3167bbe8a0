//! What is on file about a customer, given out whole and erased whole (rule 26).

use std::{sync::atomic::Ordering, time::Duration};

use crate::{
    app::App,
    crypto::pseudonym,
    domain::{
        audit::{Actor, AuditEvent, EventKind, EventRank},
        customer::CustomerNumber,
        export::Export,
    },
    error::{Error, Result},
    storage::{Outcome, Transaction},
};

/// How many events are read at once.
const EXPORTED_AT_ONCE: u64 = 5_000;
/// Whoever erases a customer waits no longer for the files; they are seen to all the same.
const CLEANING_PATIENCE: Duration = Duration::from_secs(2);
const CLEANING_ATTEMPTS: u32 = 20;
const CLEANING_PAUSE: Duration = Duration::from_millis(100);

impl App {
    /// Everything on file about a customer, and the event that it was given out.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], and the failures of the database.
    pub async fn export_customer(&self, actor: &Actor, number: CustomerNumber) -> Result<Export> {
        let (app, actor) = (self.clone(), actor.clone());
        let of = number.clone();
        let (mut export, last) = self
            .database
            .transaction_of(&number, move |transaction| {
                let (app, actor, number) = (app.clone(), actor.clone(), of.clone());
                Box::pin(async move {
                    let locked = transaction.lock_customer(&number).await?;
                    let kind = EventKind::CustomerExported;
                    let event = app.event(&locked, &actor, kind, None, &[])?;
                    transaction.insert_audit_event(&event).await?;
                    let mut export = transaction.load_export(&locked).await?;
                    let now = app.now();
                    let contacts = export.contacts.into_iter();
                    export.contacts = contacts.map(|contact| contact.as_of(now)).collect();
                    Ok(Outcome::Commit((export, event.rank())))
                })
            })
            .await?;
        export.events = self.list_events_until(&number, last).await?;
        Ok(export)
    }

    /// The trail up to an event, which is in it unless the customer is erased meanwhile. What
    /// was recorded does not change, so it needs no transaction.
    async fn list_events_until(
        &self,
        number: &CustomerNumber,
        last: EventRank,
    ) -> Result<Vec<AuditEvent>> {
        let (mut events, mut after) = (Vec::new(), EventRank::FIRST);
        while after < last {
            let page = self
                .database
                .list_oldest_audit_events(number, after, EXPORTED_AT_ONCE)
                .await?;
            after = page
                .last()
                .map(AuditEvent::rank)
                .ok_or(Error::CustomerNotFound)?;
            events.extend(page.into_iter().filter(|event| event.rank() <= last));
        }
        Ok(events)
    }

    /// Erases a customer with everything on file about it. Its trail goes on under a pseudonym,
    /// and keeps that it happened.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], and the failures of the database.
    pub async fn erase_customer(&self, actor: &Actor, number: CustomerNumber) -> Result<()> {
        let (app, actor) = (self.clone(), actor.clone());
        // Who hangs up must not leave files behind.
        let erasing = tokio::spawn(async move {
            app.erase_rows(&actor, &number).await?;
            let cleaning = tokio::spawn(async move { app.clean_up_after(&number).await });
            if tokio::time::timeout(CLEANING_PATIENCE, cleaning)
                .await
                .is_err()
            {
                tracing::info!("the files of the database are still being overwritten");
            }
            Ok(())
        });
        erasing
            .await
            .map_err(|_| Error::internal("the task of an erasure panicked"))?
    }

    async fn erase_rows(&self, actor: &Actor, number: &CustomerNumber) -> Result<()> {
        let pseudonyms = self.pseudonyms(number);
        let Some(newest) = pseudonyms.first() else {
            return Err(Error::internal("there is no service key"));
        };
        // A long trail goes over piece by piece: whoever is interrupted goes on where it was.
        while self.database.has_long_trail(number).await? {
            if self.rename_some_events(number, newest).await? == 0 {
                break;
            }
        }
        let (app, actor) = (self.clone(), actor.clone());
        let of = number.clone();
        self.database
            .transaction_of(number, move |transaction| {
                let (app, actor, number) = (app.clone(), actor.clone(), of.clone());
                Box::pin(async move {
                    app.erase_within(transaction, &actor, &number).await?;
                    Ok(Outcome::Commit(()))
                })
            })
            .await
    }

    async fn rename_some_events(
        &self,
        number: &CustomerNumber,
        pseudonym: &CustomerNumber,
    ) -> Result<u64> {
        let (of, pseudonym) = (number.clone(), pseudonym.clone());
        self.database
            .transaction_of(number, move |transaction| {
                let (number, pseudonym) = (of.clone(), pseudonym.clone());
                Box::pin(async move {
                    transaction.lock_customer(&number).await?;
                    let renamed = transaction.rename_some_events(&number, &pseudonym).await?;
                    Ok(Outcome::Commit(renamed))
                })
            })
            .await
    }

    async fn erase_within(
        &self,
        transaction: &Transaction,
        actor: &Actor,
        number: &CustomerNumber,
    ) -> Result<()> {
        let mut locked = transaction.lock_customer(number).await?;
        transaction.erase_customer(number).await?;
        let pseudonyms = self.pseudonyms(number);
        let Some((newest, older)) = pseudonyms.split_first() else {
            return Err(Error::internal("there is no service key"));
        };
        let position = transaction.place_trail(number).await?;
        transaction.rename_trail(number, newest, older).await?;
        locked.customer.number = newest.clone();
        let event = self.event(&locked, actor, EventKind::CustomerErased, None, &[])?;
        let sealed = pseudonym::seal(&self.service_keys, number, self.random.bytes()?)?;
        transaction
            .insert_sealed_event(&event, sealed, position)
            .await
    }

    /// Whether a customer was erased. One that is not on file may be of another database.
    async fn is_erased(&self, number: &CustomerNumber) -> Result<bool> {
        if self.database.find_customer(number).await?.is_some() {
            return Ok(false);
        }
        for pseudonym in self.pseudonyms(number) {
            let trail = self
                .database
                .list_audit_events(&pseudonym, EventRank::LAST, 1);
            if !trail.await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The mails and the database's own files; what fails is tried again by `clean_files`.
    async fn clean_up_after(&self, number: &CustomerNumber) {
        if let Some(folder) = &self.mail_folder
            && folder.delete_mails_of(number).await.is_err()
        {
            tracing::warn!("the mails of an erased customer could not be deleted yet");
        }
        self.has_deleted.store(true, Ordering::Relaxed);
        for _ in 0..CLEANING_ATTEMPTS {
            match self.overwrite_deleted().await {
                Ok(()) => return,
                Err(Error::Conflict | Error::DatabaseUnavailable) => {
                    tokio::time::sleep(CLEANING_PAUSE).await;
                }
                Err(_) => break,
            }
        }
        tracing::warn!("the files of the database could not be overwritten yet");
    }

    async fn overwrite_deleted(&self) -> Result<()> {
        self.database.overwrite_deleted().await?;
        self.has_deleted.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Deletes the files that hold something of customers that were erased, whichever process
    /// erased them, and gives how many customers there were.
    ///
    /// # Errors
    /// The failures of the database and of the file system.
    pub async fn clean_files(&self) -> Result<u64> {
        if self.has_deleted.load(Ordering::Relaxed) {
            self.overwrite_deleted().await?;
        }
        let Some(folder) = &self.mail_folder else {
            return Ok(0);
        };
        let failed = |_| Error::internal("the folder of mails cannot be cleaned");
        let mut count = 0;
        for number in folder.customers().await.map_err(failed)? {
            if self.is_erased(&number).await? {
                folder.delete_mails_of(&number).await.map_err(failed)?;
                count += 1;
            }
        }
        Ok(count)
    }
}
