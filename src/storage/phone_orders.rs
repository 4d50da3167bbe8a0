//! Rows of order types and of decisions about phone orders.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set, sea_query::OnConflict,
};

use super::{
    database::Database,
    entity::{
        order_types::{ActiveModel, Column, Entity, Model},
        phone_orders,
    },
    error::StorageError,
    timeout::with_timeout,
    transaction::Transaction,
};
use crate::{
    domain::{
        audit::Actor,
        phone_order::{OrderType, PhoneOrder},
        restrictions::OrderTypeCode,
    },
    error::Result,
};

impl Database {
    /// Lists the order types, ordered by their codes; retired ones only if `show_retired`.
    pub async fn list_order_types(&self, show_retired: bool) -> Result<Vec<OrderType>> {
        let mut query = Entity::find().order_by_asc(Column::Code);
        if !show_retired {
            query = query.filter(Column::Retired.eq(false));
        }
        let rows = query.all(&self.readers);
        let rows = with_timeout(async { Ok(rows.await.map_err(StorageError::from)?) }).await?;
        Ok(rows.into_iter().map(to_order_type).collect())
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
    /// Finds an order type by its code.
    pub async fn find_order_type(&self, code: &OrderTypeCode) -> Result<Option<OrderType>> {
        let row = Entity::find_by_id(code.as_str())
            .one(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(row.map(to_order_type))
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
            system_management: Set(order_type.system_management),
            offered_by_phone: Set(order_type.offered_by_phone),
            retired: Set(order_type.retired),
            updated_by: Set(actor.0.clone()),
            update_time: Set(now),
        };
        Entity::insert(row)
            .on_conflict(
                OnConflict::column(Column::Code)
                    .update_columns([
                        Column::DisplayName,
                        Column::SystemManagement,
                        Column::OfferedByPhone,
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

    /// Inserts the decision about a phone order.
    pub async fn insert_phone_order(&self, order: &PhoneOrder) -> Result<()> {
        let row = phone_orders::ActiveModel {
            customer_number: Set(order.customer_number.as_str().to_owned()),
            authorization_id: Set(order.id),
            contact_id: Set(order.contact_id.0),
            agent: Set(order.agent.clone()),
            call_id: Set(order.call_id.clone()),
            order_type: Set(order.order_type.code.as_str().to_owned()),
            system_management: Set(order.order_type.system_management),
            offered_by_phone: Set(order.order_type.can_be_ordered_by_phone()),
            contact_version: Set(order.contact_version),
            customer_administers_product: Set(order.customer_administers_product),
            decision: Set(order.decision.as_str().to_owned()),
            decision_time: Set(order.decision_time),
        };
        phone_orders::Entity::insert(row)
            .exec_without_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }
}

fn to_order_type(row: Model) -> OrderType {
    OrderType {
        code: OrderTypeCode::from_stored(row.code),
        display_name: row.display_name,
        system_management: row.system_management,
        offered_by_phone: row.offered_by_phone,
        retired: row.retired,
    }
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
