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
        contact_import::{ImportKey, ImportValues},
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, Result},
};

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

    /// Inserts the imported rows, with the contacts that they became.
    pub async fn insert_imports(
        &self,
        number: &CustomerNumber,
        imported: &[(ImportKey, ImportValues, ContactId)],
        now: DateTime<Utc>,
    ) -> Result<()> {
        let rows = imported.iter().map(|(key, values, id)| ActiveModel {
            customer_number: Set(number.as_str().to_owned()),
            import_key: Set(key.0.to_vec()),
            import_values: Set(Some(values.0.to_vec())),
            contact_id: Set(id.0),
            import_time: Set(now),
        });
        Entity::insert_many(rows)
            .exec_without_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }
}

fn to_hash(bytes: Vec<u8>, column: &'static str) -> Result<[u8; 32]> {
    let bytes = bytes.try_into();
    bytes.map_err(|_| Error::data_loss(column))
}
