//! The SHA-256 of a mailed token. Each mail has a token of its own.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "confirmation_tokens")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(in crate::storage) token_hash: Vec<u8>,
    pub(in crate::storage) confirmation_id: Uuid,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {
    #[sea_orm(
        belongs_to = "super::email_confirmations::Entity",
        from = "(Column::CustomerNumber, Column::ConfirmationId)",
        to = "(super::email_confirmations::Column::CustomerNumber, super::email_confirmations::Column::ConfirmationId)"
    )]
    Confirmation,
}

impl Related<super::email_confirmations::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Confirmation.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
