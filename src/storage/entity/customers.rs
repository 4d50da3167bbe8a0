//! A customer.

use sea_orm::entity::prelude::*;

#[allow(clippy::struct_excessive_bools, reason = "the columns are independent")]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "customers")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) customer_number: String,
    pub(in crate::storage) email: Option<String>,
    pub(in crate::storage) email_key: Option<String>,
    pub(in crate::storage) phone_number: Option<String>,
    /// The language of the contact data.
    pub(in crate::storage) locale: String,
    pub(in crate::storage) security_notices: bool,
    pub(in crate::storage) planned_maintenance: bool,
    pub(in crate::storage) outages: bool,
    pub(in crate::storage) attention_line_suppressed: bool,
    pub(in crate::storage) attention_line_ordered_by: Option<String>,
    pub(in crate::storage) attention_line_order_time: Option<DateTimeUtc>,
    pub(in crate::storage) version: i64,
    pub(in crate::storage) write_count: i64,
    pub(in crate::storage) create_time: DateTimeUtc,
    pub(in crate::storage) update_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {
    #[sea_orm(has_many = "super::contacts::Entity")]
    Contacts,
}

impl ActiveModelBehavior for ActiveModel {}
