//! The phone password of a contact and the tries on it. One that was tried and is not set, or
//! whose contact is unknown, has a row as well, so that it is limited alike. The times of
//! failed tries are a JSON array.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "phone_passwords")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) contact_id: Uuid,
    pub(in crate::storage) hash: Option<String>,
    pub(in crate::storage) pepper_version: Option<i64>,
    pub(in crate::storage) set_time: Option<DateTimeUtc>,
    pub(in crate::storage) consecutive_failures: i16,
    pub(in crate::storage) locked_until: Option<DateTimeUtc>,
    pub(in crate::storage) recent_failures: String,
    pub(in crate::storage) is_void: bool,
    pub(in crate::storage) notice_time: Option<DateTimeUtc>,
    pub(in crate::storage) unlock_reason: Option<String>,
    /// The agent of the last failed attempt.
    pub(in crate::storage) failed_by: Option<String>,
    pub(in crate::storage) update_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {
    #[sea_orm(
        belongs_to = "super::contacts::Entity",
        from = "(Column::CustomerNumber, Column::ContactId)",
        to = "(super::contacts::Column::CustomerNumber, super::contacts::Column::ContactId)"
    )]
    Contacts,
}

impl Related<super::contacts::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Contacts.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
