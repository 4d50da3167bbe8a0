//! A contact. `types` is a set of bits, the order-type lists are JSON arrays.
//!
//! Cached responses hold this row as JSON: a new column needs a serde default, as responses of the
//! version before lack it.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, serde::Serialize, serde::Deserialize)]
#[sea_orm(table_name = "contacts")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) contact_id: Uuid,
    pub(crate) position: i64,
    pub(crate) types: i16,
    pub(crate) display_name: String,
    pub(crate) salutation: i16,
    pub(crate) title: String,
    pub(crate) given_name: String,
    pub(crate) family_name: String,
    pub(crate) job_position: String,
    pub(crate) department: String,
    pub(crate) locale: String,
    pub(crate) email: Option<String>,
    pub(crate) email_key: Option<String>,
    pub(crate) email_confirm_time: Option<DateTimeUtc>,
    pub(crate) pending_email: Option<String>,
    pub(crate) pending_email_request_time: Option<DateTimeUtc>,
    pub(crate) pending_email_expire_time: Option<DateTimeUtc>,
    #[serde(default)]
    pub(crate) pending_email_id: Option<Uuid>,
    #[serde(default)]
    pub(crate) pending_email_resends: i16,
    #[serde(default)]
    pub(crate) pending_email_resend_time: Option<DateTimeUtc>,
    #[serde(default)]
    pub(crate) email_bounce_time: Option<DateTimeUtc>,
    #[serde(default)]
    pub(crate) email_works_since: Option<DateTimeUtc>,
    #[serde(default)]
    pub(crate) pending_email_bounce_time: Option<DateTimeUtc>,
    pub(crate) invoice_email_enabled: bool,
    pub(crate) invoice_email_lapse_time: Option<DateTimeUtc>,
    pub(crate) restrictions_note: String,
    pub(crate) allowed_order_types: String,
    pub(crate) denied_order_types: String,
    pub(crate) version: i64,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) update_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
