//! Customer records and the attention line order (rules 23, 24).

use chrono::{DateTime, Utc};

use super::{
    context::App,
    idempotency::{self, ChangeOptions},
};
use crate::{
    domain::{
        audit::{Actor, EventKind},
        change_notice::{NoticeKind, NoticedChange},
        customer::{Customer, CustomerChange},
        email_address::EmailAddress,
        etag::check_etag,
        ids::CustomerNumber,
    },
    error::{Error, Result, Violation},
    storage::{Outcome, Transaction},
};

/// A request to update a customer record.
#[derive(Clone, Debug)]
pub struct UpdateCustomer {
    /// The customer to update.
    pub customer_number: CustomerNumber,
    /// The fields to set.
    pub change: CustomerChange,
    /// The conditions of the change.
    pub options: ChangeOptions,
    /// If true, a missing customer is created.
    pub allow_missing: bool,
}

/// An order about the attention line of invoices.
#[derive(Clone, Debug)]
pub struct AttentionLineRequest {
    /// The customer that ordered it.
    pub customer_number: CustomerNumber,
    /// True if the line stays empty.
    pub suppressed: bool,
    /// The address that the order came from.
    pub ordered_by: Option<EmailAddress>,
    /// The conditions of the change.
    pub options: ChangeOptions,
}

/// Returns the record of a customer that is to be created, by an update or an import.
///
/// # Errors
/// [`Error::InvalidFields`] if the number has the form of an erased customer's pseudonym.
pub(super) fn new_customer(
    customer_number: &CustomerNumber,
    now: DateTime<Utc>,
) -> Result<Customer> {
    if customer_number.is_pseudonym() {
        return Err(Error::invalid_field(
            "customer.customer_number",
            Violation::ReservedCustomerNumber,
        ));
    }
    Ok(Customer::new(customer_number.clone(), now))
}

impl App {
    /// Returns a customer record.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`].
    pub async fn get_customer(&self, customer_number: &CustomerNumber) -> Result<Customer> {
        self.database
            .find_customer(customer_number)
            .await?
            .ok_or(Error::CustomerNotFound)
    }

    /// Sets fields of a customer, or creates it if `allow_missing` is set.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::EtagMismatch`], [`Error::RequestIdReused`],
    /// [`Error::InvalidFields`] for a number that no customer may have.
    pub async fn update_customer(&self, actor: &Actor, update: UpdateCustomer) -> Result<Customer> {
        let (app, actor) = (self.clone(), actor.clone());
        let customer_number = update.customer_number.clone();
        self.database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, actor, update) = (app.clone(), actor.clone(), update.clone());
                Box::pin(async move {
                    app.update_customer_within(transaction, &actor, &update)
                        .await
                })
            })
            .await
    }

    async fn update_customer_within(
        &self,
        transaction: &Transaction,
        actor: &Actor,
        update: &UpdateCustomer,
    ) -> Result<Outcome<Customer>> {
        let now = self.now();
        let customer_number = &update.customer_number;
        let options = &update.options;
        let found = transaction.find_and_lock_customer(customer_number).await?;
        let (locked, kind, changed) = match found {
            Some(mut locked) => {
                if let Some(replayed) =
                    idempotency::replay_customer(transaction, customer_number, actor, options, now)
                        .await?
                {
                    return Ok(replayed);
                }
                check_etag(&options.etag, &locked.customer.etag())?;
                let before = locked.customer.clone();
                let changed = update.change.apply_to(&mut locked.customer, now);
                if !changed.is_empty() {
                    transaction
                        .update_customer(&before, &mut locked.customer, now)
                        .await?;
                    self.notify_of_replaced_address(transaction, &before, &locked.customer)
                        .await?;
                }
                (locked, EventKind::CustomerUpdated, changed)
            }
            None if update.allow_missing => {
                let mut customer = new_customer(customer_number, now)?;
                check_etag(&options.etag, "")?;
                let changed = update.change.apply_to(&mut customer, now);
                let locked = transaction
                    .insert_customer(customer, &self.pseudonyms(customer_number), 1)
                    .await?;
                (locked, EventKind::CustomerCreated, changed)
            }
            None => return Err(Error::CustomerNotFound),
        };
        // Rule 25: an update that changes nothing records no event.
        if kind == EventKind::CustomerCreated || !changed.is_empty() {
            let event = self.event(&locked, actor, kind, None, &changed)?;
            transaction.insert_audit_event(&event).await?;
        }
        idempotency::store_customer(transaction, actor, options, locked.customer, now).await
    }

    /// Tells the previous address of the contact data, and the STANDARD contacts, that it was replaced or
    /// removed (rule 31).
    async fn notify_of_replaced_address(
        &self,
        transaction: &Transaction,
        before: &Customer,
        after: &Customer,
    ) -> Result<()> {
        let new = after.contact_data.email.as_ref();
        let is_kept = |old: &EmailAddress| new.is_some_and(|new| new.is_same_as(old));
        if before.contact_data.email.as_ref().is_none_or(is_kept) {
            return Ok(());
        }
        let contacts = transaction.list_contacts(&before.number).await?;
        let change = NoticedChange {
            kind: NoticeKind::ContactDataEmailReplaced,
            contact_id: None,
            name: String::new(),
            time: self.now(),
        };
        self.notify_of_changes(transaction, before, &contacts, vec![change])
            .await
    }

    /// Suppresses the attention line on the customer's order, or restores it (rule 23). Only an
    /// order from the contact data's address is accepted; it is recorded with that address.
    ///
    /// # Errors
    /// [`Error::OrderingAddressNotOnFile`], [`Error::CustomerNotFound`], [`Error::EtagMismatch`],
    /// [`Error::RequestIdReused`].
    pub async fn set_attention_line(
        &self,
        actor: &Actor,
        order: AttentionLineRequest,
    ) -> Result<Customer> {
        let (app, actor) = (self.clone(), actor.clone());
        self.database
            .customer_transaction(&order.customer_number.clone(), move |transaction| {
                let (app, actor, order) = (app.clone(), actor.clone(), order.clone());
                Box::pin(async move {
                    app.set_attention_line_within(transaction, &actor, order)
                        .await
                })
            })
            .await
    }

    async fn set_attention_line_within(
        &self,
        transaction: &Transaction,
        actor: &Actor,
        order: AttentionLineRequest,
    ) -> Result<Outcome<Customer>> {
        let now = self.now();
        let (number, options) = (&order.customer_number, &order.options);
        let mut locked = transaction.lock_customer(number).await?;
        if let Some(replayed) =
            idempotency::replay_customer(transaction, number, actor, options, now).await?
        {
            return Ok(replayed);
        }
        check_etag(&options.etag, &locked.customer.etag())?;
        let before = locked.customer.clone();
        let customer = &mut locked.customer;
        let changed = customer.order_attention_line(order.suppressed, order.ordered_by, now)?;
        if !changed.is_empty() {
            transaction.update_customer(&before, customer, now).await?;
            let kind = EventKind::AttentionLineSet;
            let event = self.event(&locked, actor, kind, None, &changed)?;
            transaction.insert_audit_event(&event).await?;
        }
        idempotency::store_customer(transaction, actor, options, locked.customer, now).await
    }
}
