//! Rows of phone passwords.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set, sea_query::OnConflict};

use super::{
    Transaction,
    entity::phone_passwords::{ActiveModel, Column, Entity, Model},
    expect_one_row,
};
use crate::storage::error::Failure;
use crate::{
    domain::{
        ids::{ContactId, CustomerNumber},
        phone_password::{PhonePasswordState, attempts::ContactAttempts},
    },
    error::{Error, Result},
};

/// A hash and what it was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHash {
    /// The hash in the PHC string format, with its parameters.
    pub phc: String,
    /// Which pepper went into it.
    pub pepper_version: u32,
}

/// The row of a contact, be there a password, a contact, or neither.
#[derive(Clone, Debug, Default)]
pub struct PhonePasswordRecord {
    /// The hash; `None`: no password is set.
    pub hash: Option<StoredHash>,
    /// When it was set: another time is another password, another hash may be the same.
    pub set_time: Option<DateTime<Utc>>,
    /// The tries until now.
    pub tries: ContactAttempts,
}

/// A change of a contact's phone password.
#[derive(Clone, Debug)]
pub enum PhonePasswordChange {
    /// It is set, and its tries begin anew.
    Set(StoredHash),
    /// It is removed, and its tries with it.
    Clear,
    /// Its lock is lifted, for this reason.
    Unlock(String),
}

impl Transaction {
    /// The contact's row, made when missing, whose other tries wait until the
    /// transaction ends.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn lock_phone_password(
        &self,
        number: &CustomerNumber,
        id: ContactId,
        now: DateTime<Utc>,
    ) -> Result<PhonePasswordRecord> {
        let row = ActiveModel {
            customer_number: Set(number.as_str().to_owned()),
            contact_id: Set(id.0),
            hash: Set(None),
            pepper_version: Set(None),
            set_time: Set(None),
            consecutive_failures: Set(0),
            locked_until: Set(None),
            recent_failures: Set("[]".to_owned()),
            is_void: Set(false),
            notice_time: Set(None),
            unlock_reason: Set(None),
            failed_by: Set(None),
            update_time: Set(now),
        };
        let row = Entity::insert(row)
            .on_conflict(
                OnConflict::columns([Column::CustomerNumber, Column::ContactId])
                    .update_column(Column::UpdateTime)
                    .to_owned(),
            )
            .exec_with_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        to_record(row)
    }

    /// Saves the tries on a contact's phone password.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn save_contact_tries(
        &self,
        number: &CustomerNumber,
        id: ContactId,
        tries: &ContactAttempts,
    ) -> Result<()> {
        self.update_phone_password(number, id, tries_columns(tries)?)
            .await
    }

    /// Puts the same password's hash in place of an older one.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn renew_phone_password(
        &self,
        number: &CustomerNumber,
        id: ContactId,
        hash: &StoredHash,
    ) -> Result<()> {
        let row = ActiveModel {
            hash: Set(Some(hash.phc.clone())),
            pepper_version: Set(Some(hash.pepper_version.into())),
            ..<ActiveModel as sea_orm::ActiveModelTrait>::default()
        };
        self.update_phone_password(number, id, row).await
    }

    /// Changes a contact's phone password, and gives how it is shown afterwards.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn change_phone_password(
        &self,
        number: &CustomerNumber,
        id: ContactId,
        change: &PhonePasswordChange,
        now: DateTime<Utc>,
    ) -> Result<PhonePasswordState> {
        let mut record = self.lock_phone_password(number, id, now).await?;
        let row = match change {
            PhonePasswordChange::Set(hash) => ActiveModel {
                hash: Set(Some(hash.phc.clone())),
                pepper_version: Set(Some(hash.pepper_version.into())),
                set_time: Set(Some(now)),
                ..tries_columns(&ContactAttempts::default())?
            },
            PhonePasswordChange::Clear => ActiveModel {
                hash: Set(None),
                pepper_version: Set(None),
                set_time: Set(None),
                ..tries_columns(&ContactAttempts::default())?
            },
            PhonePasswordChange::Unlock(reason) => {
                record.tries.unlock();
                ActiveModel {
                    unlock_reason: Set(Some(reason.clone())),
                    ..tries_columns(&record.tries)?
                }
            }
        };
        self.update_phone_password(number, id, row).await?;
        let row = Entity::find_by_id((number.as_str().to_owned(), id.0))
            .one(&self.inner)
            .await
            .map_err(Failure::from)?;
        row.as_ref()
            .map_or(Ok(PhonePasswordState::default()), to_state)
    }

    /// Deletes what is kept of a contact's phone password.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn delete_phone_password(
        &self,
        number: &CustomerNumber,
        id: ContactId,
    ) -> Result<()> {
        Entity::delete_many()
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::ContactId.eq(id.0))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }

    pub(super) async fn update_phone_password(
        &self,
        number: &CustomerNumber,
        id: ContactId,
        row: ActiveModel,
    ) -> Result<()> {
        let updated = Entity::update_many()
            .set(row)
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .filter(Column::ContactId.eq(id.0))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        expect_one_row(updated.rows_affected)
    }
}

pub(super) fn tries_columns(tries: &ContactAttempts) -> Result<ActiveModel> {
    Ok(ActiveModel {
        consecutive_failures: Set(tries.consecutive),
        locked_until: Set(tries.locked_until),
        recent_failures: Set(from_times(&tries.recent)?),
        is_void: Set(tries.is_revoked),
        notice_time: Set(tries.notice_time),
        ..<ActiveModel as sea_orm::ActiveModelTrait>::default()
    })
}

pub(super) fn to_record(row: Model) -> Result<PhonePasswordRecord> {
    let tries = to_tries(&row)?;
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
        tries,
    })
}

pub(super) fn to_tries(row: &Model) -> Result<ContactAttempts> {
    Ok(ContactAttempts {
        consecutive: row.consecutive_failures,
        locked_until: row.locked_until,
        recent: to_times(&row.recent_failures)?,
        is_revoked: row.is_void,
        notice_time: row.notice_time,
    })
}

/// How it is shown: the tries on a password that is not set concern nobody.
pub(super) fn to_state(row: &Model) -> Result<PhonePasswordState> {
    if row.set_time.is_none() {
        return Ok(PhonePasswordState::default());
    }
    let tries = to_tries(row)?;
    Ok(PhonePasswordState {
        set_time: row.set_time,
        locked_until: tries.latest_lock(),
        is_revoked: tries.is_revoked,
    })
}

pub(super) fn to_times(json: &str) -> Result<Vec<DateTime<Utc>>> {
    serde_json::from_str(json).map_err(|_| Error::data_loss("times of failed tries"))
}

pub(super) fn from_times(times: &[DateTime<Utc>]) -> Result<String> {
    serde_json::to_string(times).map_err(|_| Error::internal("times cannot be written"))
}
