//! An address that was entered, as its links know it. `remind_time` is empty once the
//! reminder was queued or is no longer due.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "email_confirmations")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) confirmation_id: Uuid,
    pub(in crate::storage) contact_id: Uuid,
    pub(in crate::storage) masked_email: String,
    pub(in crate::storage) state: String,
    pub(in crate::storage) expire_time: DateTimeUtc,
    pub(in crate::storage) remind_time: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {
    #[sea_orm(has_many = "super::confirmation_tokens::Entity")]
    Tokens,
}

impl ActiveModelBehavior for ActiveModel {}
