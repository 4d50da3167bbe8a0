//! Rows of one-time codes (rule 29): the latest of each contact and method.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, Set,
    sea_query::{Expr, ExprTrait, OnConflict},
};
use uuid::Uuid;

use super::{
    columns::{from_times, to_times},
    entity::one_time_codes::{ActiveModel, Column, Entity, Model},
    error::StorageError,
    transaction::Transaction,
};
use crate::{
    domain::{
        authentication::{AuthenticationMethod, CodeHash},
        ids::{ContactId, ContactRef},
    },
    error::{Error, Result},
};

/// The number of wrong codes that end a code.
const MAX_ATTEMPTS: i16 = 3;

/// A code that may be used.
#[derive(Clone, Debug)]
pub struct StoredCode {
    /// The way in which the contact got it.
    pub method: AuthenticationMethod,
    /// Its hash.
    pub hash: CodeHash,
}

/// A code that is stored.
#[derive(Clone, Debug)]
pub struct NewCode {
    /// The contact.
    pub contact: ContactRef,
    /// The way in which the contact gets it.
    pub method: AuthenticationMethod,
    /// Its hash.
    pub hash: CodeHash,
    /// The e-mail that has it.
    pub mail_id: Option<Uuid>,
    /// The expiry.
    pub expire_time: DateTime<Utc>,
    /// The times of the codes that were mailed lately, with this one.
    pub mail_times: Vec<DateTime<Utc>>,
}

impl Transaction {
    /// Returns the times of the codes that were mailed to a contact of a locked customer lately.
    pub async fn find_code_mail_times(&self, contact: &ContactRef) -> Result<Vec<DateTime<Utc>>> {
        let row = Entity::find_by_id(key(contact, AuthenticationMethod::CodeByEmail))
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        row.map_or(Ok(Vec::new()), |row| to_times(&row.mail_times))
    }

    /// Stores a code of a contact on file, in place of the older one.
    pub async fn upsert_code(&self, code: &NewCode) -> Result<()> {
        let (customer_number, contact_id, method) = key(&code.contact, code.method);
        let row = ActiveModel {
            customer_number: Set(customer_number),
            contact_id: Set(contact_id),
            method: Set(method),
            code_hash: Set(Some(code.hash.mac.to_vec())),
            key_version: Set(code.hash.key_version.into()),
            mail_id: Set(code.mail_id),
            attempts: Set(0),
            expire_time: Set(code.expire_time),
            mail_times: Set(from_times(&code.mail_times)?),
        };
        let latest =
            OnConflict::columns([Column::CustomerNumber, Column::ContactId, Column::Method])
                .update_columns([
                    Column::CodeHash,
                    Column::KeyVersion,
                    Column::MailId,
                    Column::Attempts,
                    Column::ExpireTime,
                    Column::MailTimes,
                ])
                .to_owned();
        Entity::insert(row)
            .on_conflict(latest)
            .exec_without_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }

    /// Counts a wrong code against all usable codes of a contact, and returns them as they were: the
    /// attempt is reserved before it is checked.
    pub async fn reserve_code_attempt(
        &self,
        contact: &ContactRef,
        now: DateTime<Utc>,
    ) -> Result<Vec<StoredCode>> {
        let rows = Entity::update_many()
            .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
            .filter(Column::CustomerNumber.eq(contact.customer_number.as_str()))
            .filter(Column::ContactId.eq(contact.contact_id.0))
            .filter(Column::CodeHash.is_not_null())
            .filter(Column::Attempts.lt(MAX_ATTEMPTS))
            .filter(Column::ExpireTime.gt(now))
            .exec_with_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        rows.iter().map(to_stored_code).collect()
    }

    /// Uses a code up. Returns false if it was used, or replaced, since it was read.
    pub async fn use_code(&self, contact: &ContactRef, code: &StoredCode) -> Result<bool> {
        let (customer_number, contact_id, method) = key(contact, code.method);
        let used = ActiveModel {
            code_hash: Set(None),
            mail_id: Set(None),
            ..<ActiveModel as ActiveModelTrait>::default()
        };
        let updated = Entity::update_many()
            .set(used)
            .filter(Column::CustomerNumber.eq(customer_number))
            .filter(Column::ContactId.eq(contact_id))
            .filter(Column::Method.eq(method))
            .filter(Column::CodeHash.eq(code.hash.mac.to_vec()))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(updated.rows_affected == 1)
    }

    /// Finds the code of an e-mail while it may be used: the version of its key, and its expiry.
    pub async fn find_code_of_mail(
        &self,
        contact: &ContactRef,
        mail_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Option<(u32, DateTime<Utc>)>> {
        let row = Entity::find_by_id(key(contact, AuthenticationMethod::CodeByEmail))
            .filter(Column::MailId.eq(mail_id))
            .filter(Column::CodeHash.is_not_null())
            .filter(Column::Attempts.lt(MAX_ATTEMPTS))
            .filter(Column::ExpireTime.gt(now))
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        row.map(|row| Ok((to_key_version(&row)?, row.expire_time)))
            .transpose()
    }
}

fn key(contact: &ContactRef, method: AuthenticationMethod) -> (String, Uuid, String) {
    let ContactRef {
        customer_number,
        contact_id: ContactId(id),
    } = contact;
    let number = customer_number.as_str().to_owned();
    (number, *id, method.as_str().to_owned())
}

fn to_stored_code(row: &Model) -> Result<StoredCode> {
    let mac = row
        .code_hash
        .as_deref()
        .and_then(|hash| hash.try_into().ok());
    Ok(StoredCode {
        method: to_method(&row.method)?,
        hash: CodeHash {
            key_version: to_key_version(row)?,
            mac: mac.ok_or_else(|| Error::data_loss("one_time_codes.code_hash"))?,
        },
    })
}

fn to_key_version(row: &Model) -> Result<u32> {
    u32::try_from(row.key_version).map_err(|_| Error::data_loss("one_time_codes.key_version"))
}

pub(super) fn to_method(name: &str) -> Result<AuthenticationMethod> {
    let method = AuthenticationMethod::find(name);
    method.ok_or_else(|| Error::data_loss("one_time_codes.method"))
}
