//! Rows of order types.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set, sea_query::OnConflict,
};

use super::{
    columns::to_locale,
    database::Database,
    entity::order_types::{ActiveModel, Column, Entity, Model},
    error::StorageError,
    timeout::with_timeout,
    transaction::Transaction,
};
use crate::{
    domain::{
        audit::Actor,
        contact::Locale,
        phone_order::{OrderTerms, OrderType},
        restrictions::OrderTypeCode,
    },
    error::{Error, Result},
};

impl Database {
    /// Lists the order types, ordered by their codes; retired ones only if `show_retired`.
    pub async fn list_order_types(&self, show_retired: bool) -> Result<Vec<OrderType>> {
        with_timeout(list(&self.readers, show_retired)).await
    }

    /// Returns those of `codes` that no order type has.
    pub async fn find_unknown_order_types<'c>(
        &self,
        codes: &[&'c OrderTypeCode],
    ) -> Result<Vec<&'c OrderTypeCode>> {
        with_timeout(find_unknown(&self.readers, codes)).await
    }
}

impl Transaction {
    /// Lists the order types that are not retired, ordered by their codes.
    pub async fn list_offered_order_types(&self) -> Result<Vec<OrderType>> {
        list(&self.inner, false).await
    }

    /// Finds an order type by its code.
    pub async fn find_order_type(&self, code: &OrderTypeCode) -> Result<Option<OrderType>> {
        let row = Entity::find_by_id(code.as_str())
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        row.map(to_order_type).transpose()
    }

    /// Inserts or updates an order type.
    pub async fn upsert_order_type(
        &self,
        order_type: &OrderType,
        actor: &Actor,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let row = ActiveModel {
            code: Set(order_type.code.as_str().to_owned()),
            display_name: Set(order_type.display_name.clone()),
            display_names: Set(from_names(&order_type.display_names)?),
            system_management: Set(order_type.terms.system_management),
            offered_by_phone: Set(order_type.terms.offered_by_phone),
            requires_verified_channel: Set(order_type.terms.requires_verified_channel),
            retired: Set(order_type.terms.retired),
            updated_by: Set(actor.0.clone()),
            update_time: Set(now),
        };
        Entity::insert(row)
            .on_conflict(
                OnConflict::column(Column::Code)
                    .update_columns([
                        Column::DisplayName,
                        Column::DisplayNames,
                        Column::SystemManagement,
                        Column::OfferedByPhone,
                        Column::RequiresVerifiedChannel,
                        Column::Retired,
                        Column::UpdatedBy,
                        Column::UpdateTime,
                    ])
                    .to_owned(),
            )
            .exec_without_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }

    /// Returns those of `codes` that no order type has.
    pub async fn find_unknown_order_types<'c>(
        &self,
        codes: &[&'c OrderTypeCode],
    ) -> Result<Vec<&'c OrderTypeCode>> {
        find_unknown(&self.inner, codes).await
    }
}

fn to_order_type(row: Model) -> Result<OrderType> {
    Ok(OrderType {
        code: OrderTypeCode::from_stored(row.code),
        display_name: row.display_name,
        display_names: to_names(&row.display_names)?,
        terms: OrderTerms {
            system_management: row.system_management,
            offered_by_phone: row.offered_by_phone,
            requires_verified_channel: row.requires_verified_channel,
            retired: row.retired,
        },
    })
}

fn from_names(names: &BTreeMap<Locale, String>) -> Result<String> {
    let names: BTreeMap<_, _> = names
        .iter()
        .map(|(locale, name)| (locale.as_str(), name))
        .collect();
    serde_json::to_string(&names).map_err(|_| Error::internal("names are not serializable"))
}

fn to_names(json: &str) -> Result<BTreeMap<Locale, String>> {
    const COLUMN: &str = "order_types.display_names";
    let names: BTreeMap<String, String> =
        serde_json::from_str(json).map_err(|_| Error::data_loss(COLUMN))?;
    names
        .into_iter()
        .map(|(locale, name)| Ok((to_locale(&locale, COLUMN)?, name)))
        .collect()
}

async fn list(connection: &impl ConnectionTrait, show_retired: bool) -> Result<Vec<OrderType>> {
    let mut query = Entity::find().order_by_asc(Column::Code);
    if !show_retired {
        query = query.filter(Column::Retired.eq(false));
    }
    let rows = query.all(connection).await.map_err(StorageError::from)?;
    rows.into_iter().map(to_order_type).collect()
}

async fn find_unknown<'c>(
    connection: &impl ConnectionTrait,
    codes: &[&'c OrderTypeCode],
) -> Result<Vec<&'c OrderTypeCode>> {
    if codes.is_empty() {
        return Ok(Vec::new());
    }
    let known = Entity::find()
        .filter(Column::Code.is_in(codes.iter().map(|code| code.as_str())))
        .all(connection)
        .await
        .map_err(StorageError::from)?;
    let is_unknown = |code: &&&OrderTypeCode| !known.iter().any(|row| row.code == code.as_str());
    Ok(codes.iter().filter(is_unknown).copied().collect())
}
