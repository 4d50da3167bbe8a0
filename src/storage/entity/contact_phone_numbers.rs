//! A phone number of a contact; `rank` is its index in the list.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact_phone_numbers")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) contact_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) rank: i16,
    pub(crate) phone_number: String,
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
