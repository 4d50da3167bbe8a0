//! The proof that a caller gives: a phone password or a one-time code of a contact, in a phone call.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::phone_grant::GrantProof;
use crate::{
    domain::{
        audit::{Actor, EventKind},
        authentication::OneTimeCode,
        ids::ContactRef,
        phone_password::{
            NormalizedPassword,
            attempts::{ContactAttempts, LockState},
        },
    },
    storage::{AttemptKey, StoredCode},
};

/// The proof that a caller gives.
#[derive(Clone, Debug)]
pub enum Candidate {
    /// The phone password.
    Password(NormalizedPassword),
    /// A one-time code.
    Code(OneTimeCode),
}

/// A request to check the proof of a caller.
#[derive(Clone, Debug)]
pub struct CallerCheck {
    /// The contact that the caller claims to be.
    pub contact: ContactRef,
    /// The proof.
    pub candidate: Candidate,
    /// The id of the phone call.
    pub call_id: String,
}

impl CallerCheck {
    /// Returns the key of the attempts that limit this one.
    pub(super) fn attempt_key<'a>(&'a self, agent: &'a Actor) -> AttemptKey<'a> {
        attempt_key(agent, &self.contact, &self.call_id)
    }
}

impl Candidate {
    /// Returns the kind of the event of a failed check.
    pub(super) const fn failed(&self) -> EventKind {
        match self {
            Self::Password(_) => EventKind::PhonePasswordFailed,
            Self::Code(_) => EventKind::OneTimeCodeFailed,
        }
    }

    /// Returns the kind of the event of a check that a limit rejected.
    pub(super) const fn refused(&self) -> EventKind {
        match self {
            Self::Password(_) => EventKind::PhonePasswordRefused,
            Self::Code(_) => EventKind::OneTimeCodeRefused,
        }
    }

    /// Returns the lock state at `now` of attempts with this kind of candidate.
    pub(super) fn lock_state_at(
        &self,
        attempts: &ContactAttempts,
        now: DateTime<Utc>,
    ) -> LockState {
        match self {
            Self::Password(_) => attempts.lock_state_at(now),
            Self::Code(_) => attempts.code_lock_state_at(now),
        }
    }
}

/// Returns the key of the attempts that limit one of `agent` in this phone call.
pub(super) fn attempt_key<'a>(
    agent: &'a Actor,
    contact: &'a ContactRef,
    call_id: &str,
) -> AttemptKey<'a> {
    AttemptKey {
        agent: &agent.0,
        call: call_hash(call_id),
        number: &contact.customer_number,
        id: contact.contact_id,
    }
}

/// Returns the hash under which a phone call is stored.
pub(super) fn call_hash(call_id: &str) -> String {
    STANDARD_NO_PAD.encode(Sha256::digest(call_id))
}

/// The proof that a candidate matches.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// The password that was set at this time.
    Password(DateTime<Utc>),
    /// This one-time code.
    Code(StoredCode),
}

impl Proof {
    /// Returns the proof for the grant.
    pub(super) const fn grant_proof(&self) -> GrantProof {
        match self {
            Self::Password(set_time) => GrantProof::password(*set_time),
            Self::Code(code) => GrantProof::code(code.method),
        }
    }
}
