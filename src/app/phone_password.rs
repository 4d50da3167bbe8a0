//! Generates, hashes and unlocks phone passwords (rules 13 to 16). `contacts` sets and removes them,
//! `phone_password_check` checks them.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{
    contact_update::{ContactUpdate, PHONE_PASSWORD},
    context::App,
    idempotency::{ChangeOptions, RequestKey, RequestSeed},
};
use crate::{
    crypto::password_hasher::HashPermit,
    domain::{
        audit::{Actor, EventKind},
        contact::Contact,
        ids::{ContactRef, CustomerNumber},
        phone_password::{
            GENERATED_WORDS, NormalizedPassword,
            attempts::{CALL_ATTEMPT_RETENTION, ORPHAN_ATTEMPT_RETENTION},
            generate,
        },
    },
    error::{Error, Result},
    observability::metrics::FailedContacts,
    storage::{PhonePasswordChange, StoredHash},
};

/// The window of the metric that reveals guesses at many contacts.
const FAILURE_WINDOW: TimeDelta = TimeDelta::hours(1);

impl App {
    /// Returns a phone password that is to be set: the given one, or a generated one with its clear text,
    /// which is not stored.
    ///
    /// The generated one derives from the request if that has an id, so that its repetition shows the
    /// same.
    pub(super) fn choose_phone_password(
        &self,
        new: &NewPhonePassword,
        request: Option<&RequestKey>,
    ) -> Result<(NormalizedPassword, Option<String>)> {
        let text = match new {
            NewPhonePassword::Given(password) => return Ok((password.clone(), None)),
            NewPhonePassword::Generated => {
                let seed = request.and_then(|request| request.seeds.first().copied());
                let random = || self.random.bytes();
                generated_from(&seed.map_or_else(random, Ok)?)
            }
        };
        let password = NormalizedPassword::parse(&text)
            .map_err(|_| Error::internal("a generated phone password is invalid"))?;
        Ok((password, Some(text)))
    }

    /// Lifts the lock of a contact's phone password. A revoked password remains revoked.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactNotFound`].
    pub async fn unlock_phone_password(
        &self,
        actor: &Actor,
        contact: ContactRef,
        reason: String,
        options: ChangeOptions,
    ) -> Result<Contact> {
        let mutator = |_: &mut Contact, _| Ok(vec![PHONE_PASSWORD]);
        let kind = EventKind::PhonePasswordUnlocked;
        let update = ContactUpdate {
            phone_password: Some(PhonePasswordChange::Unlock(reason)),
            ..ContactUpdate::new(contact, kind, options, mutator)
        };
        Ok(self.apply_contact_update(actor, update).await?.contact)
    }

    /// Deletes the attempts that no limit depends on any longer, and returns the number of rows.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge_attempts(&self) -> Result<u64> {
        let now = self.now();
        let expired = self
            .database
            .delete_expired_attempts(now, now - CALL_ATTEMPT_RETENTION);
        let expired = expired.await?;
        let cutoff = now - ORPHAN_ATTEMPT_RETENTION;
        Ok(expired + self.database.purge_orphan_attempts(cutoff).await?)
    }

    /// Counts the contacts with failed phone password checks in the last hour.
    ///
    /// # Errors
    /// Database errors.
    pub async fn count_failed_contacts(&self) -> Result<FailedContacts> {
        let counts = self
            .database
            .count_failed_contacts(self.now() - FAILURE_WINDOW)
            .await?;
        Ok(FailedContacts {
            max_by_agent: counts.iter().copied().max().unwrap_or_default(),
            total: counts.iter().sum(),
        })
    }

    /// Returns the pepper versions of stored hashes that are not configured, in ascending order
    /// (rule 15).
    ///
    /// # Errors
    /// Database errors.
    pub async fn missing_pepper_versions(&self) -> Result<Vec<i64>> {
        let mut versions = self.database.list_pepper_versions().await?;
        versions.retain(|stored| !self.has_pepper(*stored));
        Ok(versions)
    }

    /// Counts the stored hashes by pepper version.
    ///
    /// # Errors
    /// Database errors.
    pub async fn count_hashes_by_pepper(&self) -> Result<BTreeMap<i64, i64>> {
        let counts = self.database.count_hashes_by_pepper().await?;
        Ok(counts.into_iter().collect())
    }

    /// Iterates over the configured pepper versions, newest first.
    pub fn pepper_versions(&self) -> impl Iterator<Item = u32> {
        self.hasher.pepper_versions()
    }

    fn has_pepper(&self, stored: i64) -> bool {
        self.pepper_versions()
            .any(|version| i64::from(version) == stored)
    }

    /// Hashes a password that is to be set.
    pub(super) async fn hash_phone_password(
        &self,
        contact: &ContactRef,
        password: &NormalizedPassword,
    ) -> Result<StoredHash> {
        let (hasher, customer_number) = (&self.hasher, &contact.customer_number);
        let queued = self
            .hash_queues
            .acquire_set(hasher, customer_number)
            .await?;
        let hash = self.hash_with(queued.permit, contact, password).await;
        drop(queued.queue_permit);
        hash
    }

    /// Returns the hash of no password, for a transaction that is rolled back.
    pub(super) fn placeholder_hash(&self) -> Result<StoredHash> {
        Ok(StoredHash {
            pepper_version: self.hasher.pepper_version()?,
            phc: String::new(),
        })
    }

    /// Hashes a password with the newest pepper, under a permit that is held already.
    pub(super) async fn hash_with(
        &self,
        permit: HashPermit,
        contact: &ContactRef,
        password: &NormalizedPassword,
    ) -> Result<StoredHash> {
        let salt = self.random.bytes()?;
        Ok(StoredHash {
            pepper_version: self.hasher.pepper_version()?,
            phc: self
                .hasher
                .hash(permit, password.expose(), contact, salt)
                .await?,
        })
    }
}

/// The source of a new phone password.
#[derive(Clone, Debug)]
pub enum NewPhonePassword {
    /// The customer chose it.
    Given(NormalizedPassword),
    /// The service generates it.
    Generated,
}

/// Generates a phone password from a secret.
pub(super) fn generated_from(seed: &RequestSeed) -> String {
    let mut random = [0; GENERATED_WORDS];
    for (number, chunk) in random.iter_mut().zip(seed.chunks_exact(4)) {
        *number = chunk
            .iter()
            .fold(0, |all, byte| all << 8 | u32::from(*byte));
    }
    generate(random)
}

/// Rejects the customer number and the contact's own name as passwords (rule 14). `field` is the one of
/// the request that has the password.
pub(super) fn check_password(
    password: &NormalizedPassword,
    customer_number: &CustomerNumber,
    display_name: &str,
    field: &str,
) -> Result<()> {
    let checked = password.check_for(customer_number, display_name);
    checked.map_err(|violation| Error::invalid_field(field, violation))
}
