//! Customers, contacts, confirmations and mails of a page, each as far as it can be read.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::number_range::NumberRange;
use crate::{
    domain::{
        contact::Contact,
        customer::Customer,
        email_address::EmailAddress,
        email_confirmation::EmailConfirmation,
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, Result},
    storage::{
        contacts::record::{ContactRow, gather, selection},
        customers::to_customer,
        email_confirmations::{PENDING, to_confirmation},
        entity::{audit_events, contacts, customers, email_confirmations, outbox_mails},
        error::StorageError,
        outbox::to_claimed_mail,
        snapshot::Snapshot,
    },
};

/// A customer as it is stored.
#[derive(Clone, Debug)]
pub struct StoredCustomer {
    /// The number.
    pub number: String,
    /// The customer; an error if it cannot be read.
    pub customer: Result<Customer>,
    /// The key by which its address is found.
    pub email_key: Option<String>,
}

/// A contact as it is stored.
#[derive(Clone, Debug)]
pub struct StoredContact {
    /// The customer's number.
    pub customer_number: String,
    /// The id.
    pub id: ContactId,
    /// The contact; an error if it cannot be read.
    pub contact: Result<Contact>,
    /// The key by which its address is found.
    pub email_key: Option<String>,
}

/// A queued mail as it is stored.
#[derive(Clone, Debug)]
pub struct StoredMail {
    /// The customer's number.
    pub customer_number: String,
    /// The contact; `None`: the contact data.
    pub contact_id: Option<ContactId>,
    /// The id.
    pub id: Uuid,
    /// The recipient; an error if the mail cannot be read.
    pub recipient: Result<EmailAddress>,
}

/// Returns the condition of a page on the column of the customer number.
fn within(page: &NumberRange, column: impl ColumnTrait) -> Condition {
    Condition::all()
        .add(column.gt(&page.after))
        .add_option(page.until.as_ref().map(|until| column.lte(until)))
}

impl Snapshot {
    /// Lists the customers of a page, in the order of their numbers.
    pub async fn list_customers(&self, page: &NumberRange) -> Result<Vec<StoredCustomer>> {
        let rows = customers::Entity::find()
            .filter(within(page, customers::Column::CustomerNumber))
            .order_by_asc(customers::Column::CustomerNumber)
            .all(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let stored = rows.into_iter().map(|row| StoredCustomer {
            number: row.customer_number.clone(),
            email_key: row.email_key.clone(),
            customer: to_customer(row),
        });
        Ok(stored.collect())
    }

    /// Lists the contacts of a page, by customer.
    pub async fn list_contacts(&self, page: &NumberRange) -> Result<Vec<StoredContact>> {
        let rows = selection(
            within(page, contacts::Column::CustomerNumber),
            Condition::all(),
        )
        .into_model::<ContactRow>()
        .all(&self.inner)
        .await
        .map_err(StorageError::from)?;
        let mut stored = Vec::new();
        let mut rows = rows.into_iter().peekable();
        while let Some(row) = rows.next() {
            let (customer_number, id, email_key) = row.key();
            let mut of_contact = vec![row];
            while let Some(row) = rows.next_if(|row| row.key().1 == id) {
                of_contact.push(row);
            }
            let record = gather(of_contact).map(|mut records| records.pop());
            let contact = record.and_then(|record| {
                let missing = || Error::internal("rows of a contact yield none");
                record.ok_or_else(missing)?.into_contact()
            });
            stored.push(StoredContact {
                customer_number,
                id: ContactId(id),
                contact,
                email_key,
            });
        }
        Ok(stored)
    }

    /// Lists the pending confirmations of a page.
    pub async fn list_pending_confirmations(
        &self,
        page: &NumberRange,
    ) -> Result<Vec<EmailConfirmation>> {
        let rows = email_confirmations::Entity::find()
            .filter(within(page, email_confirmations::Column::CustomerNumber))
            .filter(email_confirmations::Column::State.eq(PENDING))
            .order_by_asc(email_confirmations::Column::CustomerNumber)
            .order_by_asc(email_confirmations::Column::ConfirmationId)
            .all(&self.inner)
            .await
            .map_err(StorageError::from)?;
        rows.into_iter().map(to_confirmation).collect()
    }

    /// Lists the queued mails and dead letters of a page.
    pub async fn list_mails(&self, page: &NumberRange) -> Result<Vec<StoredMail>> {
        let rows = outbox_mails::Entity::find()
            .filter(within(page, outbox_mails::Column::CustomerNumber))
            .order_by_asc(outbox_mails::Column::CustomerNumber)
            .order_by_asc(outbox_mails::Column::MailId)
            .all(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let stored = rows.into_iter().map(|row| StoredMail {
            recipient: to_claimed_mail(&row).map(|mail| mail.recipient),
            customer_number: row.customer_number,
            contact_id: row.contact_id.map(ContactId),
            id: row.mail_id,
        });
        Ok(stored.collect())
    }

    /// Lists the numbers in a page under which the audit log has events although no customer has
    /// them, without the pseudonyms of erased customers.
    pub async fn list_unknown_event_numbers(
        &self,
        page: &NumberRange,
    ) -> Result<BTreeSet<CustomerNumber>> {
        let (range, values) = page.condition("r.customer_number");
        let sql = format!(
            "SELECT DISTINCT r.customer_number FROM audit_events r WHERE {range} AND NOT EXISTS ( \
               SELECT 1 FROM customers c WHERE c.customer_number = r.customer_number)"
        );
        let rows = self.query(&sql, values).await?;
        let numbers = rows.iter().map(|row| {
            let number = row.try_get_by_index(0).map_err(StorageError::from)?;
            Ok(CustomerNumber::from_stored(number))
        });
        let numbers = numbers.collect::<Result<BTreeSet<_>>>()?;
        Ok(numbers
            .into_iter()
            .filter(|number| !number.is_pseudonym())
            .collect())
    }

    /// Returns which of these customers are on file.
    pub(super) async fn list_known(&self, numbers: BTreeSet<String>) -> Result<BTreeSet<String>> {
        let known: Vec<String> = customers::Entity::find()
            .select_only()
            .column(customers::Column::CustomerNumber)
            .filter(customers::Column::CustomerNumber.is_in(numbers))
            .into_tuple()
            .all(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(known.into_iter().collect())
    }

    /// Returns which of these events are in the audit log. They are found by their time: the events of an
    /// erased customer have moved to its pseudonym.
    pub(super) async fn list_known_events(
        &self,
        events: impl Iterator<Item = (DateTime<Utc>, Uuid)>,
    ) -> Result<BTreeSet<Uuid>> {
        use audit_events::Column;
        let (times, ids): (BTreeSet<_>, BTreeSet<_>) = events.unzip();
        if ids.is_empty() {
            return Ok(ids);
        }
        let known: Vec<Uuid> = audit_events::Entity::find()
            .select_only()
            .column(Column::EventId)
            .filter(Column::EventTime.is_in(times))
            .filter(Column::EventId.is_in(ids))
            .into_tuple()
            .all(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(known.into_iter().collect())
    }
}
