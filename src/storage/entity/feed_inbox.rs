//! An event that has no position in the change feed yet; see `audit_events`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "feed_inbox")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) sequence: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) event_id: Uuid,
    pub(crate) event_time: DateTimeUtc,
    pub(crate) kind: String,
    pub(crate) contact_id: Option<Uuid>,
    pub(crate) changed_fields: String,
    pub(crate) feed_number: Option<String>,
    pub(crate) sealed_customer_number: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
