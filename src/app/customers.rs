//! Customer records and the attention line order (rules 23, 24).

use chrono::{DateTime, Utc};

use super::context::App;
use crate::{
    domain::{
        audit::{Actor, EventKind},
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
    /// The expected etag; empty: any.
    pub etag: String,
    /// If true, a missing customer is created.
    pub allow_missing: bool,
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
    /// [`Error::CustomerNotFound`], [`Error::EtagMismatch`], [`Error::InvalidFields`] for a number
    /// that no customer may have.
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
        let found = transaction.find_and_lock_customer(customer_number).await?;
        let (locked, kind, changed) = match found {
            Some(mut locked) => {
                check_etag(&update.etag, &locked.customer.etag())?;
                let before = locked.customer.clone();
                let changed = update.change.apply_to(&mut locked.customer);
                if !changed.is_empty() {
                    transaction
                        .update_customer(&before, &mut locked.customer, now)
                        .await?;
                }
                (locked, EventKind::CustomerUpdated, changed)
            }
            None if update.allow_missing => {
                let mut customer = new_customer(customer_number, now)?;
                check_etag(&update.etag, "")?;
                let changed = update.change.apply_to(&mut customer);
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
        Ok(Outcome::Commit(locked.customer))
    }

    /// Suppresses the attention line on the customer's order, or restores it (rule 23). Only an
    /// order from the contact data's address is accepted; it is recorded with that address.
    ///
    /// # Errors
    /// [`Error::OrderingAddressNotOnFile`], [`Error::CustomerNotFound`].
    pub async fn set_attention_line(
        &self,
        actor: &Actor,
        customer_number: CustomerNumber,
        suppressed: bool,
        ordered_by: Option<EmailAddress>,
    ) -> Result<Customer> {
        let (app, actor) = (self.clone(), actor.clone());
        let now = self.now();
        self.database
            .customer_transaction(&customer_number.clone(), move |transaction| {
                let (app, actor) = (app.clone(), actor.clone());
                let (customer_number, ordered_by) = (customer_number.clone(), ordered_by.clone());
                Box::pin(async move {
                    let mut locked = transaction.lock_customer(&customer_number).await?;
                    let before = locked.customer.clone();
                    let customer = &mut locked.customer;
                    let changed = customer.order_attention_line(suppressed, ordered_by, now)?;
                    if changed.is_empty() {
                        return Ok(Outcome::Commit(locked.customer));
                    }
                    transaction.update_customer(&before, customer, now).await?;
                    let kind = EventKind::AttentionLineSet;
                    let event = app.event(&locked, &actor, kind, None, &changed)?;
                    transaction.insert_audit_event(&event).await?;
                    Ok(Outcome::Commit(locked.customer))
                })
            })
            .await
    }
}
