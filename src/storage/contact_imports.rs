//! Which rows of files were taken.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, Set};

use super::{
    Transaction,
    entity::contact_imports::{ActiveModel, Column, Entity},
    failure::Failure,
};
use crate::{
    domain::{contact::ContactId, contact_import::ImportKey, customer::CustomerNumber},
    error::{Error, Result},
};

impl Transaction {
    /// All rows that were taken for the customer until now.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn list_import_keys(&self, number: &CustomerNumber) -> Result<HashSet<ImportKey>> {
        let keys: Vec<Vec<u8>> = Entity::find()
            .select_only()
            .column(Column::ImportKey)
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .into_tuple()
            .all(&self.inner)
            .await
            .map_err(Failure::from)?;
        keys.into_iter().map(to_key).collect()
    }

    /// Keeps which rows were taken, and as which contacts.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn insert_imports(
        &self,
        number: &CustomerNumber,
        taken: &[(ImportKey, ContactId)],
        now: DateTime<Utc>,
    ) -> Result<()> {
        let rows = taken.iter().map(|(key, id)| ActiveModel {
            customer_number: Set(number.as_str().to_owned()),
            import_key: Set(key.0.to_vec()),
            contact_id: Set(id.0),
            import_time: Set(now),
        });
        Entity::insert_many(rows)
            .exec_without_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        Ok(())
    }
}

fn to_key(bytes: Vec<u8>) -> Result<ImportKey> {
    let bytes = bytes.try_into();
    bytes
        .map(ImportKey)
        .map_err(|_| Error::data_loss("contact_imports.import_key"))
}
