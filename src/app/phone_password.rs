//! Phone passwords set, made, removed and unlocked (rules 13 to 16). Checking them is in
//! `phone_password_check`.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;

use crate::{
    app::{App, ContactRef, contacts::Change},
    crypto::password_hasher::{HashPlace, HashedFor},
    domain::{
        audit::{Actor, EventKind},
        contact::Contact,
        customer::CustomerNumber,
        phone_password::{
            FoldedPassword, GENERATED_WORDS,
            attempts::{CALL_MEMORY, NOTHING_MEMORY},
            generate,
        },
    },
    error::{Error, Invalid, Result},
    observability::metrics::FailedContacts,
    storage::{PhonePasswordChange, StoredHash},
};

/// Within this time before now guesses at many contacts are noticed.
const FAILURES_WATCHED: TimeDelta = TimeDelta::hours(1);
pub(super) const PLACE_RETRY: Duration = Duration::from_secs(1);

impl App {
    /// Sets a contact's phone password.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] for the customer number and the contact's own name,
    /// [`Error::Overloaded`] when too many are set at once, [`Error::CustomerNotFound`],
    /// [`Error::ContactNotFound`], and the failures of the database.
    pub async fn set_phone_password(
        &self,
        actor: &Actor,
        contact: ContactRef,
        password: FoldedPassword,
    ) -> Result<Contact> {
        // Before the costly hash: most that is refused is refused here.
        let known = self.get_contact(&contact).await?;
        let check = move |password: &FoldedPassword, contact: &Contact| {
            check_password(password, &contact.customer_number, &contact.display_name)
        };
        check(&password, &known)?;
        let hash = self.hash_phone_password(&contact, &password).await?;
        let mutation = move |contact: &mut Contact, _| {
            check(&password, contact)?;
            Ok(vec!["phone_password"])
        };
        let change = Change {
            phone_password: Some(PhonePasswordChange::Set(hash)),
            ..Change::new(contact, EventKind::PhonePasswordSet, mutation)
        };
        self.change_contact(actor, change).await
    }

    /// Sets a phone password that the service makes, and gives it: it is shown only here.
    ///
    /// # Errors
    /// Those of [`set_phone_password`](Self::set_phone_password).
    pub async fn generate_phone_password(
        &self,
        actor: &Actor,
        contact: ContactRef,
    ) -> Result<(Contact, String)> {
        let bytes: [u8; 4 * GENERATED_WORDS] = self.random.bytes()?;
        let mut random = [0; GENERATED_WORDS];
        for (number, chunk) in random.iter_mut().zip(bytes.chunks_exact(4)) {
            *number = chunk
                .iter()
                .fold(0, |all, byte| all << 8 | u32::from(*byte));
        }
        let text = generate(random);
        let password = FoldedPassword::parse(&text)
            .map_err(|_| Error::internal("a generated phone password cannot be set"))?;
        let contact = self.set_phone_password(actor, contact, password).await?;
        Ok((contact, text))
    }

    /// Removes a contact's phone password.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::ContactNotFound`], and the failures of the
    /// database.
    pub async fn clear_phone_password(
        &self,
        actor: &Actor,
        contact: ContactRef,
    ) -> Result<Contact> {
        let mutation = |contact: &mut Contact, _| {
            let was_set = contact.phone_password.set_time.is_some();
            Ok(was_set.then_some("phone_password").into_iter().collect())
        };
        let change = Change {
            phone_password: Some(PhonePasswordChange::Clear),
            ..Change::new(contact, EventKind::PhonePasswordCleared, mutation)
        };
        self.change_contact(actor, change).await
    }

    /// Lifts the lock of a contact's phone password; a void one stays void.
    ///
    /// # Errors
    /// Those of [`clear_phone_password`](Self::clear_phone_password).
    pub async fn unlock_phone_password(
        &self,
        actor: &Actor,
        contact: ContactRef,
        reason: String,
    ) -> Result<Contact> {
        let mutation = |_: &mut Contact, _| Ok(vec!["phone_password"]);
        let change = Change {
            phone_password: Some(PhonePasswordChange::Unlock(reason)),
            ..Change::new(contact, EventKind::PhonePasswordUnlocked, mutation)
        };
        self.change_contact(actor, change).await
    }

    /// Forgets tries that limit nobody any more, and gives the count of their rows.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn forget_old_tries(&self) -> Result<u64> {
        let now = self.now();
        let limits = self.database.delete_old_tries(now, now - CALL_MEMORY);
        let limits = limits.await?;
        let nothing = now - NOTHING_MEMORY;
        Ok(limits + self.database.delete_tries_on_nothing(nothing).await?)
    }

    /// Counts the contacts whose phone passwords were guessed at within the last hour.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn count_failed_contacts(&self) -> Result<FailedContacts> {
        let counts = self
            .database
            .count_failed_contacts(self.now() - FAILURES_WATCHED)
            .await?;
        Ok(FailedContacts {
            of_an_agent: counts.iter().copied().max().unwrap_or_default(),
            total: counts.iter().sum(),
        })
    }

    /// Rule 15: the pepper versions of stored hashes that are not configured, lowest first.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn missing_pepper_versions(&self) -> Result<Vec<i64>> {
        let mut versions = self.database.list_pepper_versions().await?;
        versions.retain(|stored| !self.has_pepper(*stored));
        Ok(versions)
    }

    /// Counts the stored hashes by pepper version.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn count_hashes_by_pepper(&self) -> Result<BTreeMap<i64, i64>> {
        let counts = self.database.count_hashes_by_pepper().await?;
        Ok(counts.into_iter().collect())
    }

    /// The configured pepper versions, newest first.
    pub fn pepper_versions(&self) -> impl Iterator<Item = u32> {
        self.hasher.pepper_versions()
    }

    fn has_pepper(&self, stored: i64) -> bool {
        self.pepper_versions()
            .any(|version| i64::from(version) == stored)
    }

    pub(super) async fn hash_phone_password(
        &self,
        contact: &ContactRef,
        password: &FoldedPassword,
    ) -> Result<StoredHash> {
        let (hasher, number) = (&self.hasher, &contact.customer_number);
        let shared = self.hash_shares.place_to_set(hasher, number).await?;
        let hash = self.hash_in(shared.place, contact, password).await;
        drop(shared.turn);
        hash
    }

    pub(super) async fn hash_in(
        &self,
        place: HashPlace,
        contact: &ContactRef,
        password: &FoldedPassword,
    ) -> Result<StoredHash> {
        let (of, salt) = (hashed_for(contact), self.random.bytes()?);
        Ok(StoredHash {
            pepper_version: self.hasher.pepper_version()?,
            phc: self
                .hasher
                .hash(place, password.expose(), &of, salt)
                .await?,
        })
    }
}

/// Rule 14: the customer number and the contact's own name are no passwords.
pub(super) fn check_password(
    password: &FoldedPassword,
    number: &CustomerNumber,
    name: &str,
) -> Result<()> {
    let judged = password.judge_for(number, name);
    judged.map_err(|Invalid(why)| Error::invalid_field("phone_password", why))
}

pub(super) fn hashed_for(contact: &ContactRef) -> HashedFor {
    HashedFor {
        customer_number: contact.customer_number.as_str().to_owned(),
        contact_id: contact.contact_id.0,
    }
}
