//! An entry of the audit log; `changed_fields` is a JSON array of names, `details` a JSON object of codes.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_events")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) sequence: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) event_id: Uuid,
    pub(crate) event_time: DateTimeUtc,
    pub(crate) actor: String,
    pub(crate) kind: String,
    pub(crate) contact_id: Option<Uuid>,
    pub(crate) changed_fields: String,
    pub(crate) details: Option<String>,
    /// A hash of the id of the phone call that a disclosed channel is remembered for.
    pub(crate) call_hash: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
