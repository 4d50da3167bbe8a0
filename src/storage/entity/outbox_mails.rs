//! A mail that waits to be sent, written in the transaction of what it tells of. Once
//! sent it is deleted.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox_mails")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) mail_id: Uuid,
    pub(in crate::storage) kind: String,
    pub(in crate::storage) contact_id: Uuid,
    pub(in crate::storage) confirmation_id: Option<Uuid>,
    pub(in crate::storage) recipient: String,
    pub(in crate::storage) display_name: String,
    pub(in crate::storage) locale: String,
    pub(in crate::storage) state: String,
    pub(in crate::storage) attempts: i16,
    pub(in crate::storage) due_time: DateTimeUtc,
    pub(in crate::storage) failure: Option<String>,
    pub(in crate::storage) create_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
