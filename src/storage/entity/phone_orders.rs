//! The record of a decision about a phone order.

use sea_orm::entity::prelude::*;

#[allow(clippy::struct_excessive_bools, reason = "the columns are independent")]
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
    pub(crate) requires_verified_channel: bool,
    pub(crate) retired: bool,
    pub(crate) restrictions_note: String,
    pub(crate) allowed_order_types: String,
    pub(crate) denied_order_types: String,
    pub(crate) channel: String,
    pub(crate) channel_match: Option<String>,
    pub(crate) authentication: String,
    pub(crate) decision: String,
    pub(crate) decision_time: DateTimeUtc,
    pub(crate) outcome: Option<String>,
    pub(crate) order_reference: Option<String>,
    pub(crate) outcome_time: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
