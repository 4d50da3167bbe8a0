//! A request that was answered, so that its repetition gets the same answer.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "request_ids")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) actor: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) request_id: Uuid,
    pub(in crate::storage) fingerprint: Vec<u8>,
    pub(in crate::storage) answer: String,
    pub(in crate::storage) expire_time: DateTimeUtc,
    pub(in crate::storage) contact_id: Option<Uuid>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
