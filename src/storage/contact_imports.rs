//! Rows of files that were imported.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, Set};

use super::{
    entity::contact_imports::{ActiveModel, Column, Entity},
    error::StorageError,
    transaction::Transaction,
};
use crate::{
    domain::{
        audit::AuditEvent,
        contact::Contact,
        contact_import::{ImportKey, ImportValues},
        ids::CustomerNumber,
        mail::QueuedMail,
    },
    error::{Error, Result},
};

/// Imported rows of any number of customers.
#[derive(Default)]
pub struct ImportedRows {
    /// The key and the values of each row.
    pub rows: Vec<(ImportKey, ImportValues)>,
    /// The contact that each row became.
    pub contacts: Vec<Contact>,
    /// Confirmation e-mails and their due times.
    pub mails: Vec<(QueuedMail, DateTime<Utc>)>,
    /// The events of the contacts, and of customers that were created for them.
    pub events: Vec<AuditEvent>,
}

impl Transaction {
    /// Lists the rows that were imported for the customer, with their values; rows imported by
    /// earlier versions have none.
    pub async fn list_imported_values(
        &self,
        number: &CustomerNumber,
    ) -> Result<HashMap<ImportKey, Option<ImportValues>>> {
        let rows: Vec<(Vec<u8>, Option<Vec<u8>>)> = Entity::find()
            .select_only()
            .columns([Column::ImportKey, Column::ImportValues])
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .into_tuple()
            .all(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let rows = rows.into_iter().map(|(key, values)| {
            let key = to_hash(key, "contact_imports.import_key")?;
            let values = values.map(|values| to_hash(values, "contact_imports.import_values"));
            Ok((ImportKey(key), values.transpose()?.map(ImportValues)))
        });
        rows.collect()
    }

    /// Inserts imported rows, and everything that belongs to them, of locked customers.
    pub async fn insert_imported(&self, imported: &ImportedRows, now: DateTime<Utc>) -> Result<()> {
        let contacts = &imported.contacts;
        self.insert_contacts(contacts).await?;
        let rows = imported.rows.iter().zip(contacts);
        let rows = rows.map(|((key, values), contact)| ActiveModel {
            customer_number: Set(contact.customer_number.as_str().to_owned()),
            import_key: Set(key.0.to_vec()),
            import_values: Set(Some(values.0.to_vec())),
            contact_id: Set(contact.id.0),
            import_time: Set(now),
        });
        self.insert_rows(rows.collect()).await?;
        self.insert_confirmations(contacts).await?;
        let mails = imported.mails.iter();
        self.insert_mails(mails.map(|(mail, due_time)| (mail, *due_time)))
            .await?;
        self.insert_audit_events(&imported.events).await
    }
}

fn to_hash(bytes: Vec<u8>, column: &'static str) -> Result<[u8; 32]> {
    let bytes = bytes.try_into();
    bytes.map_err(|_| Error::data_loss(column))
}
