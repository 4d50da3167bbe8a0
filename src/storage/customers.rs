//! Rows of customers.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::NotSet, ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QuerySelect, Set,
    sea_query::Expr,
};

use super::{
    Database, Transaction, bounded,
    entity::{
        audit_events,
        customers::{ActiveModel, Column, Entity, Model},
    },
    expect_one_row,
};
use crate::storage::error::Failure;
use crate::{
    domain::{
        contact::Locale,
        customer::{AttentionLineOrder, ContactData, Customer, NotificationSettings},
        email_address::EmailAddress,
        ids::CustomerNumber,
        phone_number::PhoneNumber,
    },
    error::{Error, Result},
};

/// A customer whose other writers wait until the transaction ends.
#[derive(Clone, Debug)]
pub struct LockedCustomer {
    /// The customer.
    pub customer: Customer,
    /// Rank of this transaction among all on the customer: grows, never repeats.
    pub rank: i64,
}

impl Database {
    /// The customer, if it is on file.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_customer(&self, number: &CustomerNumber) -> Result<Option<Customer>> {
        let row = Entity::find_by_id(number.as_str()).one(&self.readers);
        let row = bounded(async { Ok(row.await.map_err(Failure::from)?) }).await?;
        row.map(to_customer).transpose()
    }
}

impl Transaction {
    /// Makes every other transaction on the customer wait, and loads it. To be the
    /// first statement of whatever changes something of a customer: locking it by
    /// a write holds at every isolation level, where `FOR UPDATE` does not.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], and the failures of the database.
    pub async fn lock_customer(&self, number: &CustomerNumber) -> Result<LockedCustomer> {
        self.find_and_lock_customer(number)
            .await?
            .ok_or(Error::CustomerNotFound)
    }

    /// Like [`lock_customer`](Self::lock_customer), but a missing customer is `None`.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_and_lock_customer(
        &self,
        number: &CustomerNumber,
    ) -> Result<Option<LockedCustomer>> {
        self.note_write(number);
        let rows = Entity::update_many()
            .col_expr(Column::WriteCount, Expr::col(Column::WriteCount).add(1))
            .filter(Column::CustomerNumber.eq(number.as_str()))
            .exec_with_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(None);
        };
        Ok(Some(LockedCustomer {
            rank: row.write_count,
            customer: to_customer(row)?,
        }))
    }

    /// Puts a customer on file and locks it. Its trail goes on behind what was recorded of this
    /// number and of `pseudonyms` before. A concurrent insertion of the same number makes the
    /// transaction start again.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn insert_customer(
        &self,
        customer: Customer,
        pseudonyms: &[CustomerNumber],
    ) -> Result<LockedCustomer> {
        self.note_write(&customer.number);
        let mut row = to_row(&customer);
        row.write_count = Set(1);
        // First: this waits for an erasure that is under way.
        Entity::insert(row)
            .exec_without_returning(&self.inner)
            .await
            .map_err(Failure::from)?;
        let numbers = pseudonyms.iter().chain([&customer.number]);
        let numbers = numbers.map(CustomerNumber::as_str);
        let last_rank: Option<i64> = audit_events::Entity::find()
            .select_only()
            .column_as(audit_events::Column::Sequence.max(), "last_rank")
            .filter(audit_events::Column::CustomerNumber.is_in(numbers))
            .into_tuple::<Option<i64>>()
            .one(&self.inner)
            .await
            .map_err(Failure::from)?
            .flatten();
        let rank = last_rank.unwrap_or_default() + 1;
        if rank > 1 {
            Entity::update_many()
                .col_expr(Column::WriteCount, Expr::value(rank))
                .filter(Column::CustomerNumber.eq(customer.number.as_str()))
                .exec(&self.inner)
                .await
                .map_err(Failure::from)?;
        }
        Ok(LockedCustomer { customer, rank })
    }

    /// Saves a changed customer, raises its version and sets its update time.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is not the version that was loaded, and the
    /// failures of the database.
    pub async fn update_customer(&self, customer: &mut Customer, now: DateTime<Utc>) -> Result<()> {
        let loaded_version = customer.version;
        customer.version += 1;
        customer.update_time = now;
        let updated = Entity::update_many()
            .set(to_row(customer))
            .filter(Column::CustomerNumber.eq(customer.number.as_str()))
            .filter(Column::Version.eq(loaded_version))
            .exec(&self.inner)
            .await
            .map_err(Failure::from)?;
        expect_one_row(updated.rows_affected)
    }
}

pub(super) fn to_contact_data_locale(text: &str) -> Result<Locale> {
    Locale::parse(text).map_err(|_| Error::data_loss("customers.locale"))
}

fn to_customer(row: Model) -> Result<Customer> {
    let ordered_by = row.attention_line_ordered_by.map(EmailAddress::from_stored);
    Ok(Customer {
        number: CustomerNumber::from_stored(row.customer_number),
        contact_data: ContactData {
            email: row.email.map(EmailAddress::from_stored),
            phone_number: row.phone_number.map(PhoneNumber::from_stored),
            locale: to_contact_data_locale(&row.locale)?,
        },
        notification_settings: NotificationSettings {
            security_notices: row.security_notices,
            planned_maintenance: row.planned_maintenance,
            outages: row.outages,
        },
        attention_line: AttentionLineOrder {
            suppressed: row.attention_line_suppressed,
            ordered: ordered_by.zip(row.attention_line_order_time),
        },
        version: row.version,
        create_time: row.create_time,
        update_time: row.update_time,
    })
}

/// All columns but the write count, which only the lock raises.
fn to_row(customer: &Customer) -> ActiveModel {
    let data = &customer.contact_data;
    let settings = customer.notification_settings;
    let text = |address: &EmailAddress| address.as_str().to_owned();
    let order = customer.attention_line.ordered.as_ref();
    ActiveModel {
        customer_number: Set(customer.number.as_str().to_owned()),
        email: Set(data.email.as_ref().map(text)),
        email_key: Set(data.email.as_ref().map(EmailAddress::comparison_key)),
        phone_number: Set(data.phone_number.as_ref().map(|n| n.as_str().to_owned())),
        locale: Set(data.locale.as_str().to_owned()),
        security_notices: Set(settings.security_notices),
        planned_maintenance: Set(settings.planned_maintenance),
        outages: Set(settings.outages),
        attention_line_suppressed: Set(customer.attention_line.suppressed),
        attention_line_ordered_by: Set(order.map(|(address, _)| text(address))),
        attention_line_order_time: Set(order.map(|(_, time)| *time)),
        version: Set(customer.version),
        create_time: Set(customer.create_time),
        update_time: Set(customer.update_time),
        write_count: NotSet,
    }
}
