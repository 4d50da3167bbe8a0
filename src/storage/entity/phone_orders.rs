//! The record of a decision about a phone order.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "phone_orders")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) authorization_id: Uuid,
    pub(crate) contact_id: Uuid,
    pub(crate) agent: String,
    pub(crate) call_id: String,
    pub(crate) order_type: String,
    pub(crate) customer_administers_product: bool,
    pub(crate) system_management: bool,
    pub(crate) offered_by_phone: bool,
    pub(crate) contact_version: i64,
    pub(crate) decision: String,
    pub(crate) decision_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
