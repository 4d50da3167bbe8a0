//! An order type, with the actor of its last change, which is in no customer's audit log.

use sea_orm::entity::prelude::*;

#[allow(clippy::struct_excessive_bools, reason = "the columns are independent")]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "order_types")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) code: String,
    pub(crate) display_name: String,
    pub(crate) display_names: String,
    pub(crate) system_management: bool,
    pub(crate) offered_by_phone: bool,
    pub(crate) requires_verified_channel: bool,
    pub(crate) retired: bool,
    pub(crate) updated_by: String,
    pub(crate) update_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
