//! A phone number of a contact; `rank` keeps the order in which they were given.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact_phone_numbers")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) contact_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) rank: i16,
    pub(in crate::storage) phone_number: String,
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
