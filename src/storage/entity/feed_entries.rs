//! An event in the change feed; `changed_fields` is a JSON array of names.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "feed_entries")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) position: i64,
    pub(crate) event_id: Uuid,
    pub(crate) customer_number: String,
    pub(crate) event_time: DateTimeUtc,
    pub(crate) kind: String,
    pub(crate) contact_id: Option<Uuid>,
    pub(crate) changed_fields: String,
    pub(crate) sealed_customer_number: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
