//! A kind of order. Who last changed it stands with it: it belongs to no customer's trail.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "order_types")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) code: String,
    pub(in crate::storage) display_name: String,
    pub(in crate::storage) system_management: bool,
    pub(in crate::storage) offered_by_phone: bool,
    pub(in crate::storage) retired: bool,
    pub(in crate::storage) updated_by: String,
    pub(in crate::storage) update_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
