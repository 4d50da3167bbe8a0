//! A queued e-mail or dead letter. It is inserted in the transaction of the change that it reports,
//! and deleted after it was sent.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox_mails")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) mail_id: Uuid,
    pub(crate) kind: String,
    pub(crate) contact_id: Option<Uuid>,
    pub(crate) confirmation_id: Option<Uuid>,
    pub(crate) recipient: String,
    pub(crate) display_name: String,
    pub(crate) locale: String,
    /// The changes of a notice as a JSON array.
    pub(crate) changes: Option<String>,
    pub(crate) state: String,
    pub(crate) attempts: i16,
    pub(crate) due_time: DateTimeUtc,
    pub(crate) failure: Option<String>,
    pub(crate) create_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
