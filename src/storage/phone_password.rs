//! Rows of phone passwords.

pub(super) mod record;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set, sea_query::OnConflict};

pub use self::record::{PhonePasswordRecord, StoredHash};
use self::record::{attempt_columns, to_record, to_state};
use super::{
    entity::phone_passwords::{ActiveModel, Column, Entity},
    error::{StorageError, ensure_version_matched},
    transaction::Transaction,
};
use crate::{
    domain::{
        ids::{ContactId, CustomerNumber},
        phone_password::{PhonePasswordState, attempts::ContactAttempts},
    },
    error::Result,
};

/// A change to a contact's phone password.
#[derive(Clone, Debug)]
pub enum PhonePasswordChange {
    /// Sets it, and clears its attempts.
    Set(StoredHash),
    /// Clears it with its attempts.
    Clear,
    /// Unlocks it, for this reason.
    Unlock(String),
}

impl Transaction {
    /// Locks the contact's row, which is inserted if missing: other attempts wait until the
    /// transaction ends.
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
            is_revoked: Set(false),
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
            .map_err(StorageError::from)?;
        to_record(row)
    }

    /// Updates the attempts on a contact's phone password.
    pub async fn update_contact_attempts(
        &self,
        number: &CustomerNumber,
        id: ContactId,
        attempts: &ContactAttempts,
    ) -> Result<()> {
        self.update_phone_password(number, id, attempt_columns(attempts)?)
            .await
    }

    /// Replaces the hash of an unchanged password.
    pub async fn update_phone_password_hash(
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

    /// Changes a contact's phone password, and returns its new public state.
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
                ..attempt_columns(&ContactAttempts::default())?
            },
            PhonePasswordChange::Clear => ActiveModel {
                hash: Set(None),
                pepper_version: Set(None),
                set_time: Set(None),
                ..attempt_columns(&ContactAttempts::default())?
            },
            PhonePasswordChange::Unlock(reason) => {
                record.attempts.unlock();
                ActiveModel {
                    unlock_reason: Set(Some(reason.clone())),
                    ..attempt_columns(&record.attempts)?
                }
            }
        };
        self.update_phone_password(number, id, row).await?;
        let row = Entity::find_by_id((number.as_str().to_owned(), id.0))
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        row.as_ref()
            .map_or(Ok(PhonePasswordState::default()), to_state)
    }

    /// Deletes the row of a contact's phone password.
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
            .map_err(StorageError::from)?;
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
            .map_err(StorageError::from)?;
        ensure_version_matched(updated.rows_affected)
    }
}
