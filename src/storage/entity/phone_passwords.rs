//! The phone password of a contact, with its attempts. A contact without a password and an unknown
//! contact have a row after an attempt as well, so that they are limited alike. The times of failed
//! attempts are a JSON array.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "phone_passwords")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) contact_id: Uuid,
    pub(crate) hash: Option<String>,
    pub(crate) pepper_version: Option<i64>,
    pub(crate) set_time: Option<DateTimeUtc>,
    pub(crate) consecutive_failures: i16,
    pub(crate) locked_until: Option<DateTimeUtc>,
    pub(crate) recent_failures: String,
    pub(crate) is_revoked: bool,
    pub(crate) notice_time: Option<DateTimeUtc>,
    pub(crate) unlock_reason: Option<String>,
    /// The agent of the last failed attempt.
    pub(crate) failed_by: Option<String>,
    pub(crate) update_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {
    #[sea_orm(
        belongs_to = "super::contacts::Entity",
        from = "(Column::CustomerNumber, Column::ContactId)",
        to = "(super::contacts::Column::CustomerNumber, super::contacts::Column::ContactId)"
    )]
    Contacts,
}

impl ActiveModelBehavior for ActiveModel {}
