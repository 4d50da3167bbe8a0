//! Rows of customers.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, EntityTrait, ExprTrait, IntoActiveModel,
    QueryFilter, Set, sea_query::Expr,
};

use super::{
    columns::{changed_columns, to_locale},
    database::Database,
    entity::customers::{ActiveModel, Column, Entity, Model},
    error::{StorageError, ensure_version_matched},
    timeout::with_timeout,
    transaction::Transaction,
};
use crate::{
    domain::{
        audit::Actor,
        customer::{
            AttentionLineOrder, ContactData, ContactsReview, Customer, NotificationSettings,
        },
        email_address::EmailAddress,
        ids::CustomerNumber,
        phone_number::PhoneNumber,
    },
    error::{Error, Result},
};

/// A customer that is locked until the transaction ends.
#[derive(Clone, Debug)]
pub struct LockedCustomer {
    /// The customer.
    pub customer: Customer,
    /// The sequence number of this transaction among those of the customer: it grows and never
    /// repeats.
    pub sequence_number: i64,
}

const DUE_REVIEWS: &str = "\
    SELECT customer_number FROM customers WHERE review_remind_time <= $1 \
    ORDER BY review_remind_time LIMIT $2";

impl Database {
    /// Lists up to `limit` customers of which a reminder of a review is due at `now`, the longest due
    /// first.
    pub async fn list_due_reviews(
        &self,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<CustomerNumber>> {
        let values = [now.into(), i64::from(limit).into()];
        let rows = self.rows_by_index(DUE_REVIEWS, values).await?;
        let numbers = rows.iter().map(|row| {
            let number = row.try_get_by_index(0).map_err(StorageError::from)?;
            Ok(CustomerNumber::from_stored(number))
        });
        numbers.collect()
    }

    /// Reads a customer.
    pub async fn find_customer(&self, number: &CustomerNumber) -> Result<Option<Customer>> {
        let row = Entity::find_by_id(number.as_str()).one(&self.readers);
        let row = with_timeout(async { Ok(row.await.map_err(StorageError::from)?) }).await?;
        row.map(to_customer).transpose()
    }
}

impl Transaction {
    /// Locks the customer and reads it. It must be the first statement of every change to a
    /// customer: a lock by a write is effective at every isolation level, unlike `FOR UPDATE`.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`].
    pub async fn lock_customer(&self, number: &CustomerNumber) -> Result<LockedCustomer> {
        self.find_and_lock_customer(number)
            .await?
            .ok_or(Error::CustomerNotFound)
    }

    /// Like [`lock_customer`](Self::lock_customer), but a missing customer is `None`.
    pub async fn find_and_lock_customer(
        &self,
        number: &CustomerNumber,
    ) -> Result<Option<LockedCustomer>> {
        self.record_write(number);
        let rows = Entity::update_many()
            .col_expr(Column::WriteCount, Expr::col(Column::WriteCount).add(1))
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .exec_with_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(None);
        };
        Ok(Some(LockedCustomer {
            sequence_number: row.write_count,
            customer: to_customer(row)?,
        }))
    }

    /// Inserts a customer and locks it, and takes this number of sequence numbers, of which the
    /// first is returned. They follow those of the events under this number and `pseudonyms`, so that
    /// its events follow theirs in the change feed. If another transaction inserts the same number,
    /// this one is retried.
    pub async fn insert_customer(
        &self,
        customer: Customer,
        pseudonyms: &[CustomerNumber],
        sequence_numbers: i64,
    ) -> Result<LockedCustomer> {
        self.record_write(&customer.number);
        let mut row = to_row(&customer);
        row.write_count = Set(sequence_numbers);
        // First: this waits for a concurrent erasure.
        Entity::insert(row)
            .exec_without_returning(&self.inner)
            .await
            .map_err(StorageError::from)?;
        let last_sequence = self
            .find_last_sequence(&customer.number, pseudonyms)
            .await?;
        let sequence_number = last_sequence.unwrap_or_default() + 1;
        if let Some(last) = last_sequence {
            self.take_sequence_numbers(&customer.number, last).await?;
        }
        Ok(LockedCustomer {
            customer,
            sequence_number,
        })
    }

    /// Takes further sequence numbers of a locked customer.
    pub async fn take_sequence_numbers(&self, number: &CustomerNumber, count: i64) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::WriteCount, Expr::col(Column::WriteCount).add(count))
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        Ok(())
    }

    /// Updates the review of the contacts, and the time of the next reminder of one. The version, and so the
    /// etag, stays the same.
    pub async fn update_review(&self, customer: &Customer) -> Result<()> {
        let review = customer.contacts_review.as_ref();
        let row = ActiveModel {
            review_time: Set(review.map(|review| review.time)),
            reviewed_by: Set(review.map(|review| review.by.0.clone())),
            review_remind_time: Set(customer.review_remind_time),
            ..<ActiveModel as ActiveModelTrait>::default()
        };
        self.update_columns_of_customer(customer, row).await
    }

    /// Updates the marks of the contact data's address. The version, and so the etag, stays the same.
    pub(super) async fn update_contact_data_bounce(&self, customer: &Customer) -> Result<()> {
        let data = &customer.contact_data;
        let row = ActiveModel {
            email_bounce_time: Set(data.email_bounce_time),
            email_works_since: Set(data.email_works_since),
            ..<ActiveModel as ActiveModelTrait>::default()
        };
        self.update_columns_of_customer(customer, row).await
    }

    async fn update_columns_of_customer(
        &self,
        customer: &Customer,
        row: ActiveModel,
    ) -> Result<()> {
        let updated = Entity::update_many()
            .set(row)
            .filter(Column::CustomerNumber.eq(customer.number.as_str()))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        ensure_version_matched(updated.rows_affected)
    }

    /// Updates the changed columns of a customer, increments its version and sets its update time.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it has another version than the loaded one.
    pub async fn update_customer(
        &self,
        before: &Customer,
        after: &mut Customer,
        now: DateTime<Utc>,
    ) -> Result<()> {
        after.version = before.version + 1;
        after.update_time = now;
        let updated = Entity::update_many()
            .set(changed_columns(to_row(before), to_row(after)))
            .filter(Column::CustomerNumber.eq(before.number.as_str()))
            .filter(Column::Version.eq(before.version))
            .exec(&self.inner)
            .await
            .map_err(StorageError::from)?;
        ensure_version_matched(updated.rows_affected)
    }
}

pub(super) fn to_customer(row: Model) -> Result<Customer> {
    let ordered_by = row.attention_line_ordered_by.map(EmailAddress::from_stored);
    Ok(Customer {
        number: CustomerNumber::from_stored(row.customer_number),
        contact_data: ContactData {
            email: row.email.map(EmailAddress::from_stored),
            email_bounce_time: row.email_bounce_time,
            email_works_since: row.email_works_since,
            phone_number: row.phone_number.map(PhoneNumber::from_stored),
            locale: to_locale(&row.locale, "customers.locale")?,
        },
        notification_settings: NotificationSettings {
            security_notices: row.security_notices,
            planned_maintenance: row.planned_maintenance,
            outages: row.outages,
            contact_changes: row.contact_changes,
        },
        attention_line: AttentionLineOrder {
            suppressed: row.attention_line_suppressed,
            ordered: ordered_by.zip(row.attention_line_order_time),
        },
        contacts_review: row
            .review_time
            .zip(row.reviewed_by)
            .map(|(time, by)| ContactsReview {
                time,
                by: Actor(by),
            }),
        review_remind_time: row.review_remind_time,
        version: row.version,
        create_time: row.create_time,
        update_time: row.update_time,
    })
}

/// Returns the row of a customer. Its write count, which only the lock increments, is 0.
pub(super) fn to_model(customer: &Customer) -> Model {
    let data = &customer.contact_data;
    let settings = customer.notification_settings;
    let text = |address: &EmailAddress| address.as_str().to_owned();
    let order = customer.attention_line.ordered.as_ref();
    let review = customer.contacts_review.as_ref();
    Model {
        customer_number: customer.number.as_str().to_owned(),
        email: data.email.as_ref().map(text),
        email_key: data.email.as_ref().map(EmailAddress::comparison_key),
        email_bounce_time: data.email_bounce_time,
        email_works_since: data.email_works_since,
        phone_number: data.phone_number.as_ref().map(|n| n.as_str().to_owned()),
        locale: data.locale.as_str().to_owned(),
        security_notices: settings.security_notices,
        planned_maintenance: settings.planned_maintenance,
        outages: settings.outages,
        contact_changes: settings.contact_changes,
        attention_line_suppressed: customer.attention_line.suppressed,
        attention_line_ordered_by: order.map(|(address, _)| text(address)),
        attention_line_order_time: order.map(|(_, time)| *time),
        review_time: review.map(|review| review.time),
        reviewed_by: review.map(|review| review.by.0.clone()),
        review_remind_time: customer.review_remind_time,
        version: customer.version,
        create_time: customer.create_time,
        update_time: customer.update_time,
        write_count: 0,
    }
}

/// All columns except the write count.
fn to_row(customer: &Customer) -> ActiveModel {
    ActiveModel {
        write_count: NotSet,
        ..to_model(customer).into_active_model()
    }
}
