//! A customer. Cached responses hold this row as JSON.

use sea_orm::entity::prelude::*;

#[allow(clippy::struct_excessive_bools, reason = "the columns are independent")]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, serde::Serialize, serde::Deserialize)]
#[sea_orm(table_name = "customers")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) customer_number: String,
    pub(crate) email: Option<String>,
    pub(crate) email_key: Option<String>,
    pub(crate) email_bounce_time: Option<DateTimeUtc>,
    pub(crate) email_works_since: Option<DateTimeUtc>,
    pub(crate) phone_number: Option<String>,
    /// The language of the contact data.
    pub(crate) locale: String,
    pub(crate) security_notices: bool,
    pub(crate) planned_maintenance: bool,
    pub(crate) outages: bool,
    pub(crate) contact_changes: bool,
    pub(crate) attention_line_suppressed: bool,
    pub(crate) attention_line_ordered_by: Option<String>,
    pub(crate) attention_line_order_time: Option<DateTimeUtc>,
    pub(crate) review_time: Option<DateTimeUtc>,
    pub(crate) reviewed_by: Option<String>,
    pub(crate) review_remind_time: DateTimeUtc,
    pub(crate) version: i64,
    pub(crate) write_count: i64,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) update_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
