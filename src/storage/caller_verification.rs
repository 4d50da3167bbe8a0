//! Whose a phone number or an address is (rule 21).

use sea_orm::{
    ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, RelationTrait,
};

use super::{
    Database, bounded,
    contacts::to_types,
    entity::{contact_phone_numbers as phones, contacts, customers},
    failure::Failure,
};
use crate::{
    domain::{
        caller::{Channel, ChannelMatch},
        contact::ContactId,
        customer::CustomerNumber,
    },
    error::Result,
};

impl Database {
    /// The contacts of the customer that have the channel, in the order of their
    /// creation, and before them the contact data, if that has it.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_channel(
        &self,
        number: &CustomerNumber,
        channel: &Channel,
    ) -> Result<Vec<ChannelMatch>> {
        let contacts = contacts::Entity::find()
            .filter(contacts::Column::CustomerNumber.eq(number.as_str()))
            .order_by_asc(contacts::Column::Position);
        let customer =
            customers::Entity::find().filter(customers::Column::CustomerNumber.eq(number.as_str()));
        let (contacts, customer) = match channel {
            Channel::Email(email) => {
                let key = email.comparison_key();
                (
                    contacts.filter(contacts::Column::EmailKey.eq(key.as_str())),
                    customer.filter(customers::Column::EmailKey.eq(key.as_str())),
                )
            }
            Channel::PhoneNumber(phone_number) => (
                contacts
                    .join(JoinType::InnerJoin, contacts::Relation::PhoneNumbers.def())
                    .filter(phones::Column::CustomerNumber.eq(number.as_str()))
                    .filter(phones::Column::PhoneNumber.eq(phone_number.as_str()))
                    .distinct(),
                customer.filter(customers::Column::PhoneNumber.eq(phone_number.as_str())),
            ),
        };
        let rows = bounded(async {
            let customer = customer.one(&self.readers).await.map_err(Failure::from)?;
            let contacts = contacts.all(&self.readers).await.map_err(Failure::from)?;
            Ok((customer, contacts))
        });
        let (customer, contacts) = rows.await?;
        let contact_data = customer.map(|_| Ok(ChannelMatch::ContactData));
        let contacts = contacts.into_iter().map(|row| {
            Ok(ChannelMatch::Contact {
                id: ContactId(row.contact_id),
                display_name: row.display_name,
                types: to_types(row.types)?,
            })
        });
        contact_data.into_iter().chain(contacts).collect()
    }
}
