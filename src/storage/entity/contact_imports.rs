//! A row of a file that was taken, so that it is not taken again.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact_imports")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) import_key: Vec<u8>,
    pub(in crate::storage) import_values: Option<Vec<u8>>,
    pub(in crate::storage) contact_id: Uuid,
    pub(in crate::storage) import_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
