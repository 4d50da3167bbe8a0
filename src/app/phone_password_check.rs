//! Checks phone passwords (rules 16 to 18).
//!
//! An attempt is stored as failed, and committed, before its password is hashed. So concurrent
//! attempts see one another on all instances, and an attempt whose client disconnects still
//! counts. A match removes the failure again.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::{
    context::App,
    hash_queues::QueuedPermit,
    phone_grant::{self, Grant, GrantScope},
    phone_lock_notice::LockKind,
};
use crate::{
    crypto::password_hasher::HashPermit,
    domain::{
        audit::{Actor, EventKind},
        contact::{Contact, find_contact},
        ids::ContactRef,
        phone_password::{
            NormalizedPassword,
            attempts::{LockState, check_call},
        },
    },
    error::{Error, Result},
    observability::metrics::{self, Verdict},
    storage::{AttemptKey, Outcome, StoredHash, Transaction},
};

/// The result of a check.
#[derive(Clone, Debug)]
pub enum PhonePasswordVerdict {
    /// The password is correct.
    Match {
        /// The proof for orders in the same phone call.
        grant: Grant,
        /// The contact, with its restrictions.
        contact: Box<Contact>,
    },
    /// The password is wrong, none is set, or the contact does not exist.
    NoMatch,
    /// The password was not checked because it is locked.
    Locked {
        /// The end of the lock; `None`: a new password has to be set.
        retry_time: Option<DateTime<Utc>>,
    },
}

/// A request to check a phone password.
#[derive(Clone, Debug)]
pub struct PhonePasswordCheck {
    /// The contact whose password is checked.
    pub contact: ContactRef,
    /// The candidate password of the caller.
    pub candidate: NormalizedPassword,
    /// The id of the phone call.
    pub call_id: String,
}

impl PhonePasswordCheck {
    fn attempt_key<'a>(&'a self, agent: &'a Actor) -> AttemptKey<'a> {
        AttemptKey {
            agent: &agent.0,
            call: STANDARD_NO_PAD.encode(Sha256::digest(&self.call_id)),
            number: &self.contact.customer_number,
            id: self.contact.contact_id,
        }
    }
}

/// An attempt that was stored as failed.
#[derive(Clone)]
struct Reservation {
    hash: Option<StoredHash>,
    set_time: Option<DateTime<Utc>>,
    reserve_time: DateTime<Utc>,
    /// The lock that the attempt caused, should it fail.
    lock: Option<LockKind>,
}

enum Reserved {
    Attempt(Reservation),
    Locked(Option<DateTime<Utc>>),
}

/// The reason why an attempt was not checked: `Ok` with the end of the lock (`None`: revoked), or
/// the error of an exceeded limit.
type Rejection = Result<Option<DateTime<Utc>>>;

/// Returns `None` for errors that are unrelated to the attempt.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the others are unrelated to the attempt"
)]
fn metric_verdict(verdict: &Result<PhonePasswordVerdict>) -> Option<Verdict> {
    match verdict {
        Ok(PhonePasswordVerdict::Match { .. }) => Some(Verdict::Match),
        Ok(PhonePasswordVerdict::NoMatch) => Some(Verdict::NoMatch),
        Ok(PhonePasswordVerdict::Locked { .. }) => Some(Verdict::Locked),
        Err(Error::PhoneCallAttemptLimit { .. }) => Some(Verdict::PhoneCallAttemptLimit),
        Err(Error::AgentBlocked { .. }) => Some(Verdict::AgentBlocked),
        Err(Error::Overloaded { .. }) => Some(Verdict::Overloaded),
        Err(Error::PepperMissing) => Some(Verdict::PepperMissing),
        Err(_) => None,
    }
}

impl App {
    /// Checks the candidate password of a caller (rules 16 to 18). A wrong password, a contact
    /// without one and a missing contact give the same result after the same work.
    ///
    /// # Errors
    /// [`Error::Overloaded`] and [`Error::PepperMissing`], which count no attempt, and
    /// [`Error::AgentBlocked`] and [`Error::PhoneCallAttemptLimit`].
    pub async fn check_phone_password(
        &self,
        agent: &Actor,
        check: PhonePasswordCheck,
    ) -> Result<PhonePasswordVerdict> {
        let verdict = self.check_within_limits(agent, check).await;
        if let Some(verdict) = metric_verdict(&verdict) {
            metrics::phone_password_check(verdict);
        }
        verdict
    }

    async fn check_within_limits(
        &self,
        agent: &Actor,
        check: PhonePasswordCheck,
    ) -> Result<PhonePasswordVerdict> {
        // Before a hash permit is acquired: attempts that a limit rejects must not occupy one.
        let precheck_permit = self.hash_queues.acquire_precheck().await?;
        if let Some(rejection) = self.precheck_limits(agent, &check).await? {
            return self.reject(agent, &check, rejection).await;
        }
        drop(precheck_permit);
        let agent_permit = self.hash_queues.acquire_agent(agent).await?;
        let (hasher, customer_number) = (&self.hasher, &check.contact.customer_number);
        let QueuedPermit {
            permit,
            queue_permit,
        } = self
            .hash_queues
            .acquire_check(hasher, customer_number)
            .await?;
        let (app, agent) = (self.clone(), agent.clone());
        // In a task of its own: if the client disconnects, a match must not remain a failure.
        let task = tokio::spawn(async move {
            let checked = app.check(&agent, &check, permit).await;
            drop((queue_permit, agent_permit));
            checked
        });
        task.await
            .map_err(|_| Error::internal("the task of a phone password check panicked"))?
    }

    /// Returns the reason for which the attempt would be rejected, without locking anything.
    /// `None`: it may be reserved, which checks the limits again.
    async fn precheck_limits(
        &self,
        agent: &Actor,
        check: &PhonePasswordCheck,
    ) -> Result<Option<Rejection>> {
        let attempts = self
            .database
            .find_attempts(&check.attempt_key(agent))
            .await?;
        let now = self.now();
        let limits = attempts.agent_attempts.check_at(now);
        if let Err(limited) = limits.and_then(|()| check_call(attempts.phone_call_attempts)) {
            return Ok(Some(Err(limited)));
        }
        Ok(
            match attempts.contact_attempts.attempts.lock_state_at(now) {
                LockState::Unlocked => None,
                LockState::LockedUntil(time) => Some(Ok(Some(time))),
                LockState::Revoked => Some(Ok(None)),
            },
        )
    }

    async fn check(
        &self,
        agent: &Actor,
        check: &PhonePasswordCheck,
        permit: HashPermit,
    ) -> Result<PhonePasswordVerdict> {
        let reservation = match self.reserve_attempt(agent, check).await {
            Ok(Reserved::Attempt(reservation)) => reservation,
            Ok(Reserved::Locked(retry_time)) => {
                drop(permit);
                return self.reject(agent, check, Ok(retry_time)).await;
            }
            Err(error @ (Error::PhoneCallAttemptLimit { .. } | Error::AgentBlocked { .. })) => {
                drop(permit);
                return self.reject(agent, check, Err(error)).await;
            }
            Err(error) => return Err(error),
        };
        let candidate = check.candidate.expose();
        let stored = reservation.hash.clone();
        let stored = stored.map(|hash| (hash.phc, hash.pepper_version));
        let verified = self
            .hasher
            .verify(permit, candidate, &check.contact, stored);
        let matched = match verified.await {
            Ok(true) => self.accept_match(agent, check, &reservation).await,
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        if let Ok(Some(matched)) = matched {
            return Ok(matched);
        }
        if reservation.lock.is_some() {
            metrics::phone_password_lock();
        }
        // Also after an error: the attempt remains counted as failed.
        let kind = EventKind::PhonePasswordFailed;
        self.record_check(agent, &check.contact, kind, reservation.lock)
            .await?;
        matched.map(|_| PhonePasswordVerdict::NoMatch)
    }

    /// Records a rejected attempt, and returns the reason as its verdict.
    async fn reject(
        &self,
        agent: &Actor,
        check: &PhonePasswordCheck,
        rejection: Rejection,
    ) -> Result<PhonePasswordVerdict> {
        let kind = EventKind::PhonePasswordRefused;
        self.record_check(agent, &check.contact, kind, None).await?;
        rejection.map(|retry_time| PhonePasswordVerdict::Locked { retry_time })
    }

    /// Stores the attempt as failed for the agent, the phone call and the contact.
    async fn reserve_attempt(&self, agent: &Actor, check: &PhonePasswordCheck) -> Result<Reserved> {
        let (app, agent, check) = (self.clone(), agent.clone(), check.clone());
        let customer_number = check.contact.customer_number.clone();
        let now = self.now();
        self.database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, agent, check) = (app.clone(), agent.clone(), check.clone());
                Box::pin(async move { app.reserve_within(transaction, &agent, &check, now).await })
            })
            .await
    }

    async fn reserve_within(
        &self,
        transaction: &Transaction,
        agent: &Actor,
        check: &PhonePasswordCheck,
        now: DateTime<Utc>,
    ) -> Result<Outcome<Reserved>> {
        let key = check.attempt_key(agent);
        let mut attempts = transaction.lock_attempts(&key, now).await?;
        attempts.agent_attempts.check_at(now)?;
        check_call(attempts.phone_call_attempts)?;
        match attempts.contact_attempts.attempts.lock_state_at(now) {
            LockState::Unlocked => {}
            LockState::LockedUntil(time) => {
                return Ok(Outcome::Commit(Reserved::Locked(Some(time))));
            }
            LockState::Revoked => return Ok(Outcome::Commit(Reserved::Locked(None))),
        }
        // Rule 15: a hash that cannot be verified counts no attempt.
        if let Some(hash) = &attempts.contact_attempts.hash {
            self.hasher.require_pepper(hash.pepper_version)?;
        }
        attempts.agent_attempts.reserve(now);
        attempts.phone_call_attempts += 1;
        attempts.contact_attempts.attempts.reserve(now);
        transaction.update_attempts(&key, &attempts).await?;
        let record = attempts.contact_attempts;
        Ok(Outcome::Commit(Reserved::Attempt(Reservation {
            lock: LockKind::of(record.attempts.lock_state_at(now)),
            hash: record.hash,
            set_time: record.set_time,
            reserve_time: now,
        })))
    }

    /// Removes the reserved failure, and returns the match with its grant. `None`: the password
    /// was changed since the reservation, so the candidate matched an outdated one.
    async fn accept_match(
        &self,
        agent: &Actor,
        check: &PhonePasswordCheck,
        reservation: &Reservation,
    ) -> Result<Option<PhonePasswordVerdict>> {
        let scope = GrantScope {
            contact: &check.contact,
            agent,
            call_id: &check.call_id,
        };
        let Some(set_time) = reservation.set_time else {
            return Ok(None);
        };
        let grant = phone_grant::sign(&self.service_keys, &scope, set_time, self.now())?;
        let new_hash = self.renewed_hash(check, reservation).await?;
        let (app, agent, check) = (self.clone(), agent.clone(), check.clone());
        let reservation = reservation.clone();
        let customer_number = check.contact.customer_number.clone();
        let contact = self
            .database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, agent, check) = (app.clone(), agent.clone(), check.clone());
                let (reservation, new_hash) = (reservation.clone(), new_hash.clone());
                Box::pin(async move {
                    app.accept_within(transaction, &agent, &check, &reservation, new_hash)
                        .await
                })
            })
            .await?;
        Ok(contact.map(|contact| PhonePasswordVerdict::Match {
            grant,
            contact: Box::new(contact),
        }))
    }

    async fn accept_within(
        &self,
        transaction: &Transaction,
        agent: &Actor,
        check: &PhonePasswordCheck,
        reservation: &Reservation,
        new_hash: Option<StoredHash>,
    ) -> Result<Outcome<Option<Contact>>> {
        let now = self.now();
        let ContactRef {
            customer_number,
            contact_id,
        } = &check.contact;
        let mut by_agent = transaction.lock_agent_attempts(&agent.0, now).await?;
        let Some(locked) = transaction.find_and_lock_customer(customer_number).await? else {
            return Ok(Outcome::Rollback(None));
        };
        let mut record = transaction
            .lock_phone_password(customer_number, *contact_id, now)
            .await?;
        if record.set_time != reservation.set_time {
            return Ok(Outcome::Rollback(None));
        }
        by_agent.succeed(reservation.reserve_time);
        record.attempts.succeed(reservation.reserve_time);
        transaction
            .update_agent_attempts(&agent.0, &by_agent)
            .await?;
        transaction
            .update_contact_attempts(customer_number, *contact_id, &record.attempts)
            .await?;
        // A concurrent match may have renewed the hash already.
        let new_hash = new_hash.filter(|_| record.hash == reservation.hash);
        if let Some(new_hash) = &new_hash {
            transaction
                .update_phone_password_hash(customer_number, *contact_id, new_hash)
                .await?;
        }
        let contacts = transaction.list_contacts(customer_number).await?;
        let contact = find_contact(&contacts, *contact_id)?.clone().as_of(now);
        let kind = EventKind::PhonePasswordMatched;
        let event = self.event(&locked, agent, kind, Some(*contact_id), &[])?;
        transaction.insert_audit_event(&event).await?;
        Ok(Outcome::Commit(Some(contact)))
    }

    /// Returns the hash that replaces one with an older pepper or cost. Returns `None` if the
    /// hash is current, or no permit is free: the next match renews it then.
    async fn renewed_hash(
        &self,
        check: &PhonePasswordCheck,
        reservation: &Reservation,
    ) -> Result<Option<StoredHash>> {
        let Some(old) = &reservation.hash else {
            return Ok(None);
        };
        if !self.hasher.is_outdated(&old.phc, old.pepper_version)? {
            return Ok(None);
        }
        let Some(permit) = self.hasher.try_acquire() else {
            return Ok(None);
        };
        let hash = self
            .hash_with(permit, &check.contact, &check.candidate)
            .await?;
        Ok(Some(hash))
    }
}
