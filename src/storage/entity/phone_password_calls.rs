//! Attempts of a customer's phone passwords in a phone call, by a hash of the call's id.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "phone_password_calls")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) call_id: String,
    pub(in crate::storage) tries: i16,
    pub(in crate::storage) expire_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
