//! The SHA-256 of a mailed token. Each e-mail has a token of its own.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "confirmation_tokens")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) customer_number: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) token_hash: Vec<u8>,
    pub(crate) confirmation_id: Uuid,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {
    #[sea_orm(
        belongs_to = "super::email_confirmations::Entity",
        from = "(Column::CustomerNumber, Column::ConfirmationId)",
        to = "(super::email_confirmations::Column::CustomerNumber, super::email_confirmations::Column::ConfirmationId)"
    )]
    Confirmation,
}

impl ActiveModelBehavior for ActiveModel {}
