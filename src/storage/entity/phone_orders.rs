//! A decision about an order by phone, kept for evidence.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "phone_orders")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) authorization_id: Uuid,
    pub(in crate::storage) contact_id: Uuid,
    pub(in crate::storage) agent: String,
    pub(in crate::storage) call_id: String,
    pub(in crate::storage) order_type: String,
    pub(in crate::storage) customer_administers_product: bool,
    pub(in crate::storage) system_management: bool,
    pub(in crate::storage) offered_by_phone: bool,
    pub(in crate::storage) contact_version: i64,
    pub(in crate::storage) decision: String,
    pub(in crate::storage) decision_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
