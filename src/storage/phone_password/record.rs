//! Phone passwords as they are stored.

use chrono::{DateTime, Utc};
use sea_orm::Set;

use crate::{
    domain::phone_password::{PhonePasswordState, attempts::ContactAttempts},
    error::{Error, Result},
    storage::{
        columns::{from_times, to_times},
        entity::phone_passwords::{ActiveModel, Model},
    },
};

/// A hash and the version of its pepper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHash {
    /// The hash in the PHC string format, with its parameters.
    pub phc: String,
    /// The version of the pepper.
    pub pepper_version: u32,
}

/// The row of a contact. It may lack a password, and the contact may not exist.
#[derive(Clone, Debug, Default)]
pub struct PhonePasswordRecord {
    /// The hash; `None` if no password is set.
    pub hash: Option<StoredHash>,
    /// The time at which it was set. It identifies the password: a rehash keeps the time.
    pub set_time: Option<DateTime<Utc>>,
    /// The attempts so far.
    pub attempts: ContactAttempts,
}

pub(crate) fn attempt_columns(attempts: &ContactAttempts) -> Result<ActiveModel> {
    Ok(ActiveModel {
        consecutive_failures: Set(attempts.consecutive),
        locked_until: Set(attempts.locked_until),
        recent_failures: Set(from_times(&attempts.recent)?),
        is_revoked: Set(attempts.is_revoked),
        notice_time: Set(attempts.notice_time),
        ..<ActiveModel as sea_orm::ActiveModelTrait>::default()
    })
}

pub(crate) fn to_record(row: Model) -> Result<PhonePasswordRecord> {
    let attempts = to_attempts(&row)?;
    let set_time = row.set_time;
    let hash = match (row.hash, row.pepper_version) {
        (Some(phc), Some(version)) => Some(StoredHash {
            phc,
            pepper_version: u32::try_from(version)
                .map_err(|_| Error::data_loss("phone_passwords.pepper_version"))?,
        }),
        (None, None) => None,
        _ => return Err(Error::data_loss("phone_passwords.hash")),
    };
    Ok(PhonePasswordRecord {
        hash,
        set_time,
        attempts,
    })
}

pub(crate) fn to_attempts(row: &Model) -> Result<ContactAttempts> {
    Ok(ContactAttempts {
        consecutive: row.consecutive_failures,
        locked_until: row.locked_until,
        recent: to_times(&row.recent_failures)?,
        is_revoked: row.is_revoked,
        notice_time: row.notice_time,
    })
}

/// Creates the public state. Attempts without a password are not shown.
pub(crate) fn to_state(row: &Model) -> Result<PhonePasswordState> {
    if row.set_time.is_none() {
        return Ok(PhonePasswordState::default());
    }
    let attempts = to_attempts(row)?;
    Ok(PhonePasswordState {
        set_time: row.set_time,
        locked_until: attempts.latest_lock(),
        is_revoked: attempts.is_revoked,
    })
}
