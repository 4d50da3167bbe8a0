//! Rows of contacts and their phone numbers.

pub(super) mod record;

use std::slice;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, Set,
    sea_query::Condition,
};

use self::record::{select, to_row};
use super::{
    columns::changed_columns,
    database::Database,
    entity::{
        contact_phone_numbers as phones,
        contacts::{ActiveModel, Column, Entity},
    },
    error::{StorageError, ensure_version_matched},
    timeout::with_timeout,
    transaction::Transaction,
};
use crate::{
    domain::{
        contact::Contact,
        ids::{ContactId, CustomerNumber},
    },
    error::Result,
};

impl Database {
    /// Reads a contact of the customer from a snapshot that is not older than the request.
    /// Concurrent requests share a query.
    pub async fn find_contact(
        &self,
        number: &CustomerNumber,
        id: ContactId,
    ) -> Result<Option<Contact>> {
        self.contacts.load((number.clone(), id)).await?
    }

    /// Lists the customer's contacts after a position, in the order of their creation.
    pub async fn list_contacts(
        &self,
        number: &CustomerNumber,
        after_position: i64,
    ) -> Result<Vec<Contact>> {
        let is_after = Column::Position.gt(after_position).into();
        with_timeout(select(&self.readers, number, is_after)).await
    }
}

impl Transaction {
    /// Lists all contacts of the customer, in the order of their creation.
    pub async fn list_contacts(&self, number: &CustomerNumber) -> Result<Vec<Contact>> {
        select(&self.inner, number, Condition::all()).await
    }

    /// Inserts a contact with its phone numbers.
    pub async fn insert_contact(&self, contact: &Contact) -> Result<()> {
        self.insert_contacts(slice::from_ref(contact)).await
    }

    /// Inserts contacts with their phone numbers.
    pub(super) async fn insert_contacts(&self, contacts: &[Contact]) -> Result<()> {
        let rows = contacts
            .iter()
            .map(|contact| Ok(to_row(contact)?.into_active_model()));
        self.insert_rows(rows.collect::<Result<_>>()?).await?;
        self.insert_rows(contacts.iter().flat_map(phone_rows).collect())
            .await
    }

    /// Updates the changed columns of a contact, increments its version and sets its update time.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it has another version than the loaded one.
    pub async fn update_contact(
        &self,
        before: &Contact,
        after: &mut Contact,
        now: DateTime<Utc>,
    ) -> Result<()> {
        after.version = before.version + 1;
        after.update_time = now;
        let row = changed_columns(
            to_row(before)?.into_active_model(),
            to_row(after)?.into_active_model(),
        );
        self.update_columns(before, row).await?;
        if before.phone_numbers != after.phone_numbers {
            phones::Entity::delete_many()
                .filter(phones::Column::CustomerNumber.eq(before.customer_number.as_str()))
                .filter(phones::Column::ContactId.eq(before.id.0))
                .exec(&self.inner)
                .await
                .map_err(StorageError::from)?;
            self.insert_rows(phone_rows(after).collect()).await?;
        }
        Ok(())
    }

    /// Updates the columns that the expiry of a pending address changes
    /// ([`Contact::expire_pending_email`]).
    ///
    /// # Errors
    /// [`Error::Conflict`] if it has another version than the loaded one.
    pub async fn update_expiry(&self, before: &Contact, after: &Contact) -> Result<()> {
        let row = ActiveModel {
            pending_email: Set(None),
            pending_email_request_time: Set(None),
            pending_email_expire_time: Set(None),
            pending_email_id: Set(None),
            pending_email_resends: Set(0),
            pending_email_resend_time: Set(None),
            pending_email_bounce_time: Set(None),
            invoice_email_enabled: Set(after.invoice_email_enabled),
            invoice_email_lapse_time: Set(after.invoice_email_lapse_time),
            version: Set(after.version),
            update_time: Set(after.update_time),
            ..<ActiveModel as ActiveModelTrait>::default()
        };
        self.update_columns(before, row).await
    }

    /// Updates the bounce times of the contact's addresses. The version, and so the etag, stays the
    /// same: no client changed the contact.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it has another version than the loaded one.
    pub async fn update_bounces(&self, contact: &Contact) -> Result<()> {
        let pending = contact.pending_email.as_ref();
        let row = ActiveModel {
            email_bounce_time: Set(contact.email_bounce_time),
            email_works_since: Set(contact.email_works_since),
            pending_email_bounce_time: Set(pending.and_then(|pending| pending.bounce_time)),
            ..<ActiveModel as ActiveModelTrait>::default()
        };
        self.update_columns(contact, row).await
    }

    /// Updates the resends of the link to the pending address. The version, and so the etag, stays the
    /// same (rule 11).
    ///
    /// # Errors
    /// [`Error::Conflict`] if it has another version than the loaded one.
    pub async fn update_resends(&self, contact: &Contact) -> Result<()> {
        let resends = contact
            .pending_email
            .as_ref()
            .map(|pending| pending.resends);
        let resends = resends.unwrap_or_default();
        let row = ActiveModel {
            pending_email_resends: Set(resends.count),
            pending_email_resend_time: Set(resends.last_time),
            ..<ActiveModel as ActiveModelTrait>::default()
        };
        self.update_columns(contact, row).await
    }

    async fn update_columns(&self, contact: &Contact, row: ActiveModel) -> Result<()> {
        let updated = Entity::update_many()
            .set(row)
            .filter(loaded_version(contact))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        ensure_version_matched(updated.rows_affected)
    }

    /// Deletes the contact if it still has the loaded version.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it has another version.
    pub async fn delete_contact(&self, contact: &Contact) -> Result<()> {
        let deleted = Entity::delete_many()
            .filter(loaded_version(contact))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        ensure_version_matched(deleted.rows_affected)
    }
}

/// Returns the rows of the contact's phone numbers.
fn phone_rows(contact: &Contact) -> impl Iterator<Item = phones::ActiveModel> {
    let numbers = contact.phone_numbers.iter().zip(0i16..);
    numbers.map(|(number, rank)| phones::ActiveModel {
        customer_number: Set(contact.customer_number.as_str().to_owned()),
        contact_id: Set(contact.id.0),
        rank: Set(rank),
        phone_number: Set(number.as_str().to_owned()),
    })
}

/// The condition of the contact's row with the version that was loaded.
fn loaded_version(contact: &Contact) -> Condition {
    Condition::all()
        .add(Column::CustomerNumber.eq(contact.customer_number.as_str()))
        .add(Column::ContactId.eq(contact.id.0))
        .add(Column::Version.eq(contact.version))
}
