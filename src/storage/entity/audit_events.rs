//! An entry of the trail; `changed_fields` is a JSON array of names, `details` a JSON
//! object of codes.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_events")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) sequence: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) event_id: Uuid,
    pub(in crate::storage) event_time: DateTimeUtc,
    pub(in crate::storage) actor: String,
    pub(in crate::storage) kind: String,
    pub(in crate::storage) contact_id: Option<Uuid>,
    pub(in crate::storage) changed_fields: String,
    pub(in crate::storage) details: Option<String>,
    pub(in crate::storage) feed_position: Option<i64>,
    pub(in crate::storage) sealed_customer_number: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
