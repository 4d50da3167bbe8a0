//! The confirmation of an address. `remind_time` is NULL after the reminder was queued or became
//! obsolete.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "email_confirmations")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) confirmation_id: Uuid,
    pub(crate) contact_id: Uuid,
    pub(crate) masked_email: String,
    pub(crate) state: String,
    pub(crate) expire_time: DateTimeUtc,
    pub(crate) remind_time: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
