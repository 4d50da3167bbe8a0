//! Checks the phone passwords and one-time codes of callers (rules 16 to 18, 27, 29).
//!
//! An attempt is stored as failed, and committed, before its password is hashed. So concurrent
//! attempts see one another on all instances, and an attempt whose client disconnects still
//! counts. A match removes the failure again. Codes take the same path and the same limits.

use chrono::{DateTime, Utc};

use super::{
    caller_check::{CallerCheck, Candidate, Proof},
    context::App,
    hash_queues::QueuedPermit,
    phone_grant::{self, Grant, GrantScope},
    phone_lock_notice::LockKind,
};
use crate::{
    crypto::{one_time_code, password_hasher::HashPermit},
    domain::{
        audit::{Actor, EventKind},
        contact::{Contact, find_contact},
        ids::ContactRef,
        phone_order::OrderOption,
        phone_password::attempts::{LockState, check_call},
    },
    error::{Error, Result},
    observability::metrics::{self, Verdict},
    storage::{Outcome, StoredCode, StoredHash, Transaction},
};

/// The result of a check.
#[derive(Clone, Debug)]
pub enum CallerVerdict {
    /// The password or code is correct.
    Match(Box<AuthenticatedCaller>),
    /// The password or code is wrong, there is none, or the contact does not exist.
    NoMatch,
    /// Nothing was checked because of a lock.
    Locked {
        /// The end of the lock; `None`: a new password has to be set.
        retry_time: Option<DateTime<Utc>>,
    },
}

/// A contact who proved to be on the phone.
#[derive(Clone, Debug)]
pub struct AuthenticatedCaller {
    /// The proof for orders in the same phone call.
    pub grant: Grant,
    /// The contact, with its restrictions.
    pub contact: Contact,
    /// The decisions about the offered order types, in the order of their codes (rule 27).
    pub order_options: Vec<OrderOption>,
}

/// An attempt that was stored as failed.
#[derive(Clone)]
struct Reservation {
    hash: Option<StoredHash>,
    set_time: Option<DateTime<Utc>>,
    /// The codes that the contact has, if one is checked.
    codes: Vec<StoredCode>,
    was_revoked: bool,
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
fn metric_verdict(verdict: &Result<CallerVerdict>) -> Option<Verdict> {
    match verdict {
        Ok(CallerVerdict::Match(_)) => Some(Verdict::Match),
        Ok(CallerVerdict::NoMatch) => Some(Verdict::NoMatch),
        Ok(CallerVerdict::Locked { .. }) => Some(Verdict::Locked),
        Err(Error::PhoneCallAttemptLimit { .. }) => Some(Verdict::PhoneCallAttemptLimit),
        Err(Error::AgentBlocked { .. }) => Some(Verdict::AgentBlocked),
        Err(Error::Overloaded { .. }) => Some(Verdict::Overloaded),
        Err(Error::PepperMissing) => Some(Verdict::PepperMissing),
        Err(_) => None,
    }
}

impl App {
    /// Checks the proof of a caller (rules 16 to 18, 29). A wrong password or code, a contact without one
    /// and a missing contact give the same result after the same time.
    ///
    /// # Errors
    /// [`Error::Overloaded`] and [`Error::PepperMissing`], which count no attempt, and
    /// [`Error::AgentBlocked`] and [`Error::PhoneCallAttemptLimit`].
    pub async fn authenticate_caller(
        &self,
        agent: &Actor,
        check: CallerCheck,
    ) -> Result<CallerVerdict> {
        let is_password = matches!(check.candidate, Candidate::Password(_));
        let checked = self.check_within_limits(agent, check);
        if is_password {
            let verdict = checked.await;
            if let Some(verdict) = metric_verdict(&verdict) {
                metrics::phone_password_check(verdict);
            }
            return verdict;
        }
        let (verdict, ()) = tokio::join!(checked, tokio::time::sleep(self.code_answer_time));
        if let Some(verdict) = metric_verdict(&verdict) {
            metrics::one_time_code_check(verdict);
        }
        verdict
    }

    async fn check_within_limits(
        &self,
        agent: &Actor,
        check: CallerCheck,
    ) -> Result<CallerVerdict> {
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
        check: &CallerCheck,
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
            match check
                .candidate
                .lock_state_at(&attempts.contact_attempts.attempts, now)
            {
                LockState::Unlocked => None,
                LockState::LockedUntil(time) => Some(Ok(Some(time))),
                LockState::Revoked => Some(Ok(None)),
            },
        )
    }

    async fn check(
        &self,
        agent: &Actor,
        check: &CallerCheck,
        permit: HashPermit,
    ) -> Result<CallerVerdict> {
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
        let proof = self.verify(permit, check, &reservation).await;
        let matched = match proof {
            Ok(Some(proof)) => self.accept_match(agent, check, &reservation, proof).await,
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        if let Ok(Some(matched)) = matched {
            return Ok(matched);
        }
        if reservation.lock.is_some() {
            metrics::phone_password_lock();
        }
        // Also after an error: the attempt remains counted as failed.
        let kind = check.candidate.failed();
        self.record_check(agent, &check.contact, kind, reservation.lock)
            .await?;
        matched.map(|_| CallerVerdict::NoMatch)
    }

    /// Returns the proof if the candidate matches.
    async fn verify(
        &self,
        permit: HashPermit,
        check: &CallerCheck,
        reservation: &Reservation,
    ) -> Result<Option<Proof>> {
        match &check.candidate {
            Candidate::Password(password) => {
                let stored = reservation.hash.clone();
                let stored = stored.map(|hash| (hash.phc, hash.pepper_version));
                let verified =
                    self.hasher
                        .verify(permit, password.expose(), &check.contact, stored);
                let matches = verified.await?;
                let set_time = reservation.set_time.filter(|_| matches);
                Ok(set_time.map(Proof::Password))
            }
            Candidate::Code(code) => {
                let matches = |stored: &&StoredCode| {
                    one_time_code::matches(&self.service_keys, &check.contact, code, &stored.hash)
                };
                let found = reservation.codes.iter().find(matches);
                Ok(found.cloned().map(Proof::Code))
            }
        }
    }

    /// Records a rejected attempt, and returns the reason as its verdict.
    async fn reject(
        &self,
        agent: &Actor,
        check: &CallerCheck,
        rejection: Rejection,
    ) -> Result<CallerVerdict> {
        let kind = check.candidate.refused();
        self.record_check(agent, &check.contact, kind, None).await?;
        rejection.map(|retry_time| CallerVerdict::Locked { retry_time })
    }

    /// Stores the attempt as failed for the agent, the phone call and the contact.
    async fn reserve_attempt(&self, agent: &Actor, check: &CallerCheck) -> Result<Reserved> {
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
        check: &CallerCheck,
        now: DateTime<Utc>,
    ) -> Result<Outcome<Reserved>> {
        let key = check.attempt_key(agent);
        let mut attempts = transaction.lock_attempts(&key, now).await?;
        attempts.agent_attempts.check_at(now)?;
        check_call(attempts.phone_call_attempts)?;
        let contact_attempts = &attempts.contact_attempts.attempts;
        let was_revoked = contact_attempts.is_revoked;
        match check.candidate.lock_state_at(contact_attempts, now) {
            LockState::Unlocked => {}
            LockState::LockedUntil(time) => {
                return Ok(Outcome::Commit(Reserved::Locked(Some(time))));
            }
            LockState::Revoked => return Ok(Outcome::Commit(Reserved::Locked(None))),
        }
        let codes = match &check.candidate {
            Candidate::Password(_) => {
                // Rule 15: a hash that cannot be verified counts no attempt.
                if let Some(hash) = &attempts.contact_attempts.hash {
                    self.hasher.require_pepper(hash.pepper_version)?;
                }
                Vec::new()
            }
            Candidate::Code(_) => {
                transaction
                    .reserve_code_attempt(&check.contact, now)
                    .await?
            }
        };
        attempts.agent_attempts.reserve(now);
        attempts.phone_call_attempts += 1;
        attempts.contact_attempts.attempts.reserve(now);
        transaction.update_attempts(&key, &attempts).await?;
        let record = attempts.contact_attempts;
        Ok(Outcome::Commit(Reserved::Attempt(Reservation {
            lock: LockKind::of(record.attempts.lock_state_at(now)),
            hash: record.hash,
            set_time: record.set_time,
            codes,
            was_revoked,
            reserve_time: now,
        })))
    }

    /// Removes the reserved failure, and returns the match with its grant. `None`: the password was
    /// changed, or the code used, since the reservation.
    async fn accept_match(
        &self,
        agent: &Actor,
        check: &CallerCheck,
        reservation: &Reservation,
        proof: Proof,
    ) -> Result<Option<CallerVerdict>> {
        let scope = GrantScope {
            contact: &check.contact,
            agent,
            call_id: &check.call_id,
        };
        let grant = phone_grant::sign(&self.service_keys, &scope, proof.grant_proof(), self.now())?;
        let new_hash = self.renewed_hash(check, reservation).await?;
        let (app, agent, check) = (self.clone(), agent.clone(), check.clone());
        let reservation = reservation.clone();
        let customer_number = check.contact.customer_number.clone();
        self.database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, agent, check) = (app.clone(), agent.clone(), check.clone());
                let (reservation, new_hash) = (reservation.clone(), new_hash.clone());
                let (proof, grant) = (proof.clone(), grant.clone());
                Box::pin(async move {
                    let accepted = app
                        .accept_within(transaction, &agent, &check, &reservation, &proof, new_hash)
                        .await?;
                    let Some((contact, order_options)) = accepted else {
                        return Ok(Outcome::Rollback(None));
                    };
                    let caller = AuthenticatedCaller {
                        grant,
                        contact,
                        order_options,
                    };
                    Ok(Outcome::Commit(Some(CallerVerdict::Match(Box::new(
                        caller,
                    )))))
                })
            })
            .await
    }

    async fn accept_within(
        &self,
        transaction: &Transaction,
        agent: &Actor,
        check: &CallerCheck,
        reservation: &Reservation,
        proof: &Proof,
        new_hash: Option<StoredHash>,
    ) -> Result<Option<(Contact, Vec<OrderOption>)>> {
        let now = self.now();
        let ContactRef {
            customer_number,
            contact_id,
        } = &check.contact;
        let mut by_agent = transaction.lock_agent_attempts(&agent.0, now).await?;
        let Some(locked) = transaction.find_and_lock_customer(customer_number).await? else {
            return Ok(None);
        };
        let mut record = transaction
            .lock_phone_password(customer_number, *contact_id, now)
            .await?;
        let is_current = match proof {
            Proof::Password(set_time) => record.set_time == Some(*set_time),
            Proof::Code(code) => transaction.use_code(&check.contact, code).await?,
        };
        if !is_current {
            return Ok(None);
        }
        by_agent.succeed(reservation.reserve_time);
        let attempts = &mut record.attempts;
        attempts.succeed(reservation.reserve_time, reservation.was_revoked);
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
        let kind = match proof {
            Proof::Password(_) => EventKind::PhonePasswordMatched,
            Proof::Code(_) => EventKind::OneTimeCodeMatched,
        };
        let mut event = self.event(&locked, agent, kind, Some(*contact_id), &[])?;
        if let Proof::Code(code) = proof {
            let method = code.method.as_str().to_uppercase();
            event = event.with_detail("authentication", method);
        }
        transaction.insert_audit_event(&event).await?;
        let options = self.order_options(transaction, &contact, &check.call_id);
        Ok(Some((contact.clone(), options.await?)))
    }

    /// Returns the hash that replaces one with an older pepper or cost. Returns `None` if the
    /// hash is current, or no permit is free: the next match renews it then.
    async fn renewed_hash(
        &self,
        check: &CallerCheck,
        reservation: &Reservation,
    ) -> Result<Option<StoredHash>> {
        let (Some(old), Candidate::Password(password)) = (&reservation.hash, &check.candidate)
        else {
            return Ok(None);
        };
        if !self.hasher.is_outdated(&old.phc, old.pepper_version)? {
            return Ok(None);
        }
        let Some(permit) = self.hasher.try_acquire() else {
            return Ok(None);
        };
        let hash = self.hash_with(permit, &check.contact, password).await?;
        Ok(Some(hash))
    }
}
