//! Checking phone passwords (rules 16 to 18).
//!
//! A try is written down as failed, and committed, before its password is hashed: so
//! tries made at the same moment, on whichever replica, see one another, and one that
//! is given up half way has cost its place. A match takes that back.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::{
    app::{
        App, ContactRef, contacts,
        hash_shares::SharedPlace,
        phone_grant::{self, Grant, GrantScope},
        phone_password::{PLACE_RETRY, hashed_for},
    },
    crypto::password_hasher::HashPlace,
    domain::{
        audit::{Actor, EventKind},
        contact::Contact,
        mail::MailKind,
        phone_password::{
            FoldedPassword,
            attempts::{Gate, check_call},
        },
    },
    error::{Error, Result},
    observability::metrics::{self, Verdict},
    storage::{Outcome, StoredHash, Transaction, TryKey},
};

/// How long a check waits to look at the limits.
const GLANCE_PATIENCE: Duration = Duration::from_secs(1);
/// How many checks may look at the limits at once. A locked password costs its agent
/// nothing, so that nobody may fill the connections with checks of one.
pub(super) const GLANCES: usize = 4;

/// What came of a check.
#[derive(Clone, Debug)]
pub enum PhonePasswordVerdict {
    /// It is right.
    Match {
        /// The proof of it.
        grant: Grant,
        /// The contact, with its restrictions.
        contact: Box<Contact>,
    },
    /// It is wrong, none is set, or there is no such contact.
    NoMatch,
    /// It was not checked.
    Locked {
        /// From when on a try is checked again; `None`: not before it is set anew.
        retry_time: Option<DateTime<Utc>>,
    },
}

/// A check of a phone password.
#[derive(Clone, Debug)]
pub struct PhonePasswordCheck {
    /// Whose.
    pub contact: ContactRef,
    /// What was said.
    pub said: FoldedPassword,
    /// In which call.
    pub call_id: String,
}

impl PhonePasswordCheck {
    fn try_key<'a>(&'a self, agent: &'a Actor) -> TryKey<'a> {
        TryKey {
            agent: &agent.0,
            call: STANDARD_NO_PAD.encode(Sha256::digest(&self.call_id)),
            number: &self.contact.customer_number,
            id: self.contact.contact_id,
        }
    }
}

/// A try that was written down.
struct Reservation {
    hash: Option<StoredHash>,
    set_time: Option<DateTime<Utc>>,
    /// What it brings about, should it fail.
    lock: Option<Lock>,
}

/// What a failed try brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    /// A lock that ends.
    ForATime,
    /// The password is void.
    ForGood,
}

enum Reserved {
    Open(Reservation),
    Locked(Option<DateTime<Utc>>),
}

/// Why nothing was checked: locked until then (`None`: void), or a limit.
type Refused = Result<Option<DateTime<Utc>>>;

/// `None` for failures that say nothing of the try.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the others are not about tries"
)]
fn verdict_of(verdict: &Result<PhonePasswordVerdict>) -> Option<Verdict> {
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
    /// Rules 16 to 18: checks what was said. That none is set, that there is no such
    /// contact, and that it is wrong answer alike, after the same work.
    ///
    /// # Errors
    /// [`Error::Overloaded`] and [`Error::PepperMissing`] before anything was counted,
    /// [`Error::AgentBlocked`], [`Error::PhoneCallAttemptLimit`], and the failures of the database.
    pub async fn check_phone_password(
        &self,
        agent: &Actor,
        check: PhonePasswordCheck,
    ) -> Result<PhonePasswordVerdict> {
        let verdict = self.check_within_limits(agent, check).await;
        if let Some(verdict) = verdict_of(&verdict) {
            metrics::phone_password_check(verdict);
        }
        verdict
    }

    async fn check_within_limits(
        &self,
        agent: &Actor,
        check: PhonePasswordCheck,
    ) -> Result<PhonePasswordVerdict> {
        let overloaded = Error::Overloaded {
            retry_after: PLACE_RETRY,
        };
        // At a glance first: whoever is limited anyway takes no place from others.
        let glance = tokio::time::timeout(GLANCE_PATIENCE, self.glances.acquire()).await;
        let Ok(Ok(glance)) = glance else {
            return Err(overloaded);
        };
        if let Some(refused) = self.glance_at_limits(agent, &check).await? {
            return self.refuse(agent, &check, refused).await;
        }
        drop(glance);
        let share = self.hash_shares.begin_check(agent).await?;
        let (hasher, number) = (&self.hasher, &check.contact.customer_number);
        let SharedPlace { place, turn } = self.hash_shares.place_to_check(hasher, number).await?;
        let (app, agent) = (self.clone(), agent.clone());
        // Who hangs up must not leave a match that counts as a failure.
        let task = tokio::spawn(async move {
            let checked = app.check(&agent, &check, place).await;
            drop((turn, share));
            checked
        });
        task.await
            .map_err(|_| Error::internal("the task of a check panicked"))?
    }

    /// `None`: nothing stands against the check. What is not limited here is judged again when
    /// the try is written down.
    async fn glance_at_limits(
        &self,
        agent: &Actor,
        check: &PhonePasswordCheck,
    ) -> Result<Option<Refused>> {
        let tries = self.database.find_tries(&check.try_key(agent)).await?;
        let now = self.now();
        let limits = tries.by_agent.check_at(now);
        if let Err(limited) = limits.and_then(|()| check_call(tries.in_call)) {
            return Ok(Some(Err(limited)));
        }
        Ok(match tries.on_contact.tries.gate_at(now) {
            Gate::Open => None,
            Gate::LockedUntil(time) => Some(Ok(Some(time))),
            Gate::Void => Some(Ok(None)),
        })
    }

    async fn check(
        &self,
        agent: &Actor,
        check: &PhonePasswordCheck,
        place: HashPlace,
    ) -> Result<PhonePasswordVerdict> {
        let now = self.now();
        let reserved = self.reserve_try(agent, check, now).await;
        let reservation = match reserved {
            Ok(Reserved::Open(reservation)) => reservation,
            Ok(Reserved::Locked(retry_time)) => {
                drop(place);
                return self.refuse(agent, check, Ok(retry_time)).await;
            }
            Err(error @ (Error::PhoneCallAttemptLimit { .. } | Error::AgentBlocked { .. })) => {
                drop(place);
                return self.refuse(agent, check, Err(error)).await;
            }
            Err(error) => return Err(error),
        };
        let of = hashed_for(&check.contact);
        let said = check.said.expose();
        let stored = reservation.hash.clone();
        let stored = stored.map(|hash| (hash.phc, hash.pepper_version));
        let matched = match self.hasher.verify(place, said, &of, stored).await {
            Ok(true) => self.accept_match(agent, check, &reservation, now).await,
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        if let Ok(Some(matched)) = matched {
            return Ok(matched);
        }
        if reservation.lock.is_some() {
            metrics::phone_password_lock();
        }
        // Also when something broke: the try is spent.
        let kind = EventKind::PhonePasswordFailed;
        self.record_check(agent, check, kind, reservation.lock)
            .await?;
        matched.map(|_| PhonePasswordVerdict::NoMatch)
    }

    /// Records that nothing was checked, and says why not.
    async fn refuse(
        &self,
        agent: &Actor,
        check: &PhonePasswordCheck,
        refused: Refused,
    ) -> Result<PhonePasswordVerdict> {
        let kind = EventKind::PhonePasswordRefused;
        self.record_check(agent, check, kind, None).await?;
        refused.map(|retry_time| PhonePasswordVerdict::Locked { retry_time })
    }

    /// Writes the try down as failed with the agent, the call and the contact.
    async fn reserve_try(
        &self,
        agent: &Actor,
        check: &PhonePasswordCheck,
        now: DateTime<Utc>,
    ) -> Result<Reserved> {
        let (agent, check) = (agent.clone(), check.clone());
        let (hasher, of) = (self.hasher.clone(), check.contact.customer_number.clone());
        self.database
            .transaction_of(&of, move |transaction| {
                let (hasher, agent, check) = (hasher.clone(), agent.clone(), check.clone());
                Box::pin(async move {
                    let key = check.try_key(&agent);
                    let mut tries = transaction.lock_tries(&key, now).await?;
                    tries.by_agent.check_at(now)?;
                    check_call(tries.in_call)?;
                    match tries.on_contact.tries.gate_at(now) {
                        Gate::Open => {}
                        Gate::LockedUntil(time) => {
                            return Ok(Outcome::Commit(Reserved::Locked(Some(time))));
                        }
                        Gate::Void => return Ok(Outcome::Commit(Reserved::Locked(None))),
                    }
                    // Rule 15: a hash that cannot be verified counts no attempt.
                    if let Some(hash) = &tries.on_contact.hash {
                        hasher.require_pepper(hash.pepper_version)?;
                    }
                    tries.by_agent.reserve(now);
                    tries.in_call += 1;
                    tries.on_contact.tries.reserve(now);
                    transaction.save_tries(&key, &tries).await?;
                    let record = tries.on_contact;
                    let lock = match record.tries.gate_at(now) {
                        Gate::Open => None,
                        Gate::LockedUntil(_) => Some(Lock::ForATime),
                        Gate::Void => Some(Lock::ForGood),
                    };
                    Ok(Outcome::Commit(Reserved::Open(Reservation {
                        hash: record.hash,
                        set_time: record.set_time,
                        lock,
                    })))
                })
            })
            .await
    }

    /// Takes the reservation back, and gives the grant. `None`: the password was changed
    /// meanwhile, so what was said is not the one that counts now.
    async fn accept_match(
        &self,
        agent: &Actor,
        check: &PhonePasswordCheck,
        reservation: &Reservation,
        reserved_at: DateTime<Utc>,
    ) -> Result<Option<PhonePasswordVerdict>> {
        let now = self.now();
        let scope = GrantScope {
            contact: &check.contact,
            agent,
            call_id: &check.call_id,
        };
        let Some(set_time) = reservation.set_time else {
            return Ok(None);
        };
        let grant = phone_grant::sign(&self.service_keys, &scope, set_time, now)?;
        let renewed = self.renewed_hash(check, reservation).await?;
        let (app, agent, check) = (self.clone(), agent.clone(), check.clone());
        let checked_hash = reservation.hash.clone();
        let of = check.contact.customer_number.clone();
        self.database
            .transaction_of(&of, move |transaction| {
                let (app, agent, check) = (app.clone(), agent.clone(), check.clone());
                let (checked_hash, renewed) = (checked_hash.clone(), renewed.clone());
                let grant = grant.clone();
                Box::pin(async move {
                    let ContactRef {
                        customer_number: number,
                        contact_id: id,
                    } = &check.contact;
                    let mut by_agent = transaction.lock_agent_tries(&agent.0, now).await?;
                    let Some(locked) = transaction.find_and_lock_customer(number).await? else {
                        return Ok(Outcome::Rollback(None));
                    };
                    let mut record = transaction.lock_phone_password(number, *id, now).await?;
                    if record.set_time != Some(set_time) {
                        return Ok(Outcome::Rollback(None));
                    }
                    by_agent.succeed(reserved_at);
                    record.tries.succeed(reserved_at);
                    transaction.save_agent_tries(&agent.0, &by_agent).await?;
                    transaction
                        .save_contact_tries(number, *id, &record.tries)
                        .await?;
                    // Another match may have been faster.
                    let renewed = renewed.filter(|_| record.hash == checked_hash);
                    if let Some(renewed) = &renewed {
                        transaction
                            .renew_phone_password(number, *id, renewed)
                            .await?;
                    }
                    let all = transaction.list_contacts(number).await?;
                    let contact = contacts::find(&all, *id)?.clone().as_of(now);
                    let kind = EventKind::PhonePasswordMatched;
                    let event = app.event(&locked, &agent, kind, Some(*id), &[])?;
                    transaction.insert_audit_event(&event).await?;
                    Ok(Outcome::Commit(Some(PhonePasswordVerdict::Match {
                        grant,
                        contact: Box::new(contact),
                    })))
                })
            })
            .await
    }

    /// The hash that takes the place of one with an older pepper or cost. That can
    /// wait: without a free place it is left for the next match.
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
        let Some(place) = self.hasher.try_place() else {
            return Ok(None);
        };
        let hash = self.hash_in(place, &check.contact, &check.said).await?;
        Ok(Some(hash))
    }

    /// Records a check that did not match; a customer that is not on file has no trail.
    async fn record_check(
        &self,
        agent: &Actor,
        check: &PhonePasswordCheck,
        kind: EventKind,
        lock: Option<Lock>,
    ) -> Result<()> {
        let (app, agent, check) = (self.clone(), agent.clone(), check.clone());
        let of = check.contact.customer_number.clone();
        let has_mail = self
            .database
            .transaction_of(&of, move |transaction| {
                let (app, agent, check) = (app.clone(), agent.clone(), check.clone());
                Box::pin(async move {
                    let ContactRef {
                        customer_number: number,
                        contact_id: id,
                    } = &check.contact;
                    let Some(locked) = transaction.find_and_lock_customer(number).await? else {
                        return Ok(Outcome::Rollback(false));
                    };
                    let event = app.event(&locked, &agent, kind, Some(*id), &[])?;
                    transaction.insert_audit_event(&event).await?;
                    let tells = match lock {
                        Some(lock) => app.tell_of_lock(transaction, &check, lock).await?,
                        None => false,
                    };
                    Ok(Outcome::Commit(tells))
                })
            })
            .await?;
        self.mail_signal.raise_if(has_mail);
        Ok(())
    }

    /// Rule 16: the contact is told by e-mail of a lock, once a day. Gives whether it is: who
    /// has no address is not, and learns of the next one as soon as it has.
    async fn tell_of_lock(
        &self,
        transaction: &Transaction,
        check: &PhonePasswordCheck,
        lock: Lock,
    ) -> Result<bool> {
        let ContactRef {
            customer_number: number,
            contact_id: id,
        } = &check.contact;
        let all = transaction.list_contacts(number).await?;
        let contact = contacts::find(&all, *id).ok();
        let contact = contact.filter(|contact| contact.phone_password.set_time.is_some());
        let Some((contact, email)) = contact.and_then(|c| Some((c, c.email.clone()?))) else {
            return Ok(false);
        };
        let now = self.now();
        let mut record = transaction.lock_phone_password(number, *id, now).await?;
        if !record.tries.take_notice(lock == Lock::ForGood, now) {
            return Ok(false);
        }
        transaction
            .save_contact_tries(number, *id, &record.tries)
            .await?;
        let kind = MailKind::PhonePasswordLocked;
        self.queue_mail(transaction, kind, contact, email, None, now)
            .await?;
        Ok(true)
    }
}
