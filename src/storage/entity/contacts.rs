//! A contact. `types` is a set of bits, the order-type lists are JSON arrays.
//!
//! A remembered answer is this row as JSON: a column that comes later needs a serde
//! default, or answers of the day before could not be read.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, serde::Serialize, serde::Deserialize)]
#[sea_orm(table_name = "contacts")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) contact_id: Uuid,
    pub(in crate::storage) position: i64,
    pub(in crate::storage) types: i16,
    pub(in crate::storage) display_name: String,
    pub(in crate::storage) locale: String,
    pub(in crate::storage) email: Option<String>,
    pub(in crate::storage) email_key: Option<String>,
    pub(in crate::storage) pending_email: Option<String>,
    pub(in crate::storage) pending_email_request_time: Option<DateTimeUtc>,
    pub(in crate::storage) pending_email_expire_time: Option<DateTimeUtc>,
    #[serde(default)]
    pub(in crate::storage) pending_email_id: Option<Uuid>,
    #[serde(default)]
    pub(in crate::storage) pending_email_resends: i16,
    #[serde(default)]
    pub(in crate::storage) pending_email_resend_time: Option<DateTimeUtc>,
    #[serde(default)]
    pub(in crate::storage) email_bounce_time: Option<DateTimeUtc>,
    #[serde(default)]
    pub(in crate::storage) pending_email_bounce_time: Option<DateTimeUtc>,
    pub(in crate::storage) invoice_email_enabled: bool,
    pub(in crate::storage) restrictions_note: String,
    pub(in crate::storage) allowed_order_types: String,
    pub(in crate::storage) denied_order_types: String,
    pub(in crate::storage) version: i64,
    pub(in crate::storage) create_time: DateTimeUtc,
    pub(in crate::storage) update_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {
    #[sea_orm(
        belongs_to = "super::customers::Entity",
        from = "Column::CustomerNumber",
        to = "super::customers::Column::CustomerNumber"
    )]
    Customers,
    #[sea_orm(has_many = "super::contact_phone_numbers::Entity")]
    PhoneNumbers,
    #[sea_orm(has_one = "super::phone_passwords::Entity")]
    PhonePassword,
}

impl Related<super::customers::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Customers.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
