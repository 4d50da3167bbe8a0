//! Customer records and the order about the attention line (rules 23, 24).

use chrono::{DateTime, Utc};

use crate::{
    app::App,
    domain::{
        audit::{Actor, EventKind},
        customer::{Customer, CustomerChange, CustomerNumber},
        email_address::EmailAddress,
        etag::check_etag,
    },
    error::{Error, Result},
    storage::Outcome,
};

/// An update of a customer record.
#[derive(Clone, Debug)]
pub struct UpdateCustomer {
    /// Which customer.
    pub customer_number: CustomerNumber,
    /// What to set.
    pub change: CustomerChange,
    /// The state the caller has seen; empty: any.
    pub etag: String,
    /// Whether a customer that is not on file is put there.
    pub allow_missing: bool,
}

/// A customer that is not on file yet, whoever puts it there.
///
/// # Errors
/// [`Error::InvalidFields`] where the trail of an erased customer may go on under this number.
pub(super) fn new_customer(number: &CustomerNumber, now: DateTime<Utc>) -> Result<Customer> {
    if number.is_pseudonym() {
        return Err(Error::invalid_field(
            "customer.customer_number",
            "must not have the form of an erased customer's pseudonym",
        ));
    }
    Ok(Customer::new(number.clone(), now))
}

impl App {
    /// The customer.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], and the failures of the database.
    pub async fn get_customer(&self, number: &CustomerNumber) -> Result<Customer> {
        self.database
            .find_customer(number)
            .await?
            .ok_or(Error::CustomerNotFound)
    }

    /// Sets fields of a customer, or puts it on file.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`] unless missing ones are allowed,
    /// [`Error::EtagMismatch`], and the failures of the database.
    pub async fn update_customer(&self, actor: &Actor, update: UpdateCustomer) -> Result<Customer> {
        let (app, actor) = (self.clone(), actor.clone());
        let now = self.now();
        let of = update.customer_number.clone();
        self.database
            .transaction_of(&of, move |transaction| {
                let (app, actor, update) = (app.clone(), actor.clone(), update.clone());
                Box::pin(async move {
                    let found = transaction
                        .find_and_lock_customer(&update.customer_number)
                        .await?;
                    let (locked, kind, changed) = match found {
                        Some(mut locked) => {
                            check_etag(&update.etag, &locked.customer.etag())?;
                            let changed = update.change.apply_to(&mut locked.customer);
                            if !changed.is_empty() {
                                transaction
                                    .update_customer(&mut locked.customer, now)
                                    .await?;
                            }
                            (locked, EventKind::CustomerUpdated, changed)
                        }
                        None if update.allow_missing => {
                            let mut customer = new_customer(&update.customer_number, now)?;
                            check_etag(&update.etag, "")?;
                            let changed = update.change.apply_to(&mut customer);
                            let locked = transaction
                                .insert_customer(customer, &app.pseudonyms(&update.customer_number))
                                .await?;
                            (locked, EventKind::CustomerCreated, changed)
                        }
                        None => return Err(Error::CustomerNotFound),
                    };
                    // Rule 25: an update that changes nothing records nothing.
                    if kind == EventKind::CustomerCreated || !changed.is_empty() {
                        let event = app.event(&locked, &actor, kind, None, &changed)?;
                        transaction.insert_audit_event(&event).await?;
                    }
                    Ok(Outcome::Commit(locked.customer))
                })
            })
            .await
    }

    /// Rule 23: suppresses the attention line on the customer's order, or lifts that. The
    /// order counts only from the contact-data address, and is recorded with it.
    ///
    /// # Errors
    /// [`Error::OrderingAddressNotOnFile`], [`Error::CustomerNotFound`], and the
    /// failures of the database.
    pub async fn set_attention_line(
        &self,
        actor: &Actor,
        number: CustomerNumber,
        suppressed: bool,
        ordered_by: Option<EmailAddress>,
    ) -> Result<Customer> {
        let (app, actor) = (self.clone(), actor.clone());
        let now = self.now();
        let of = number.clone();
        self.database
            .transaction_of(&of, move |transaction| {
                let (app, actor, number) = (app.clone(), actor.clone(), number.clone());
                let ordered_by = ordered_by.clone();
                Box::pin(async move {
                    let mut locked = transaction.lock_customer(&number).await?;
                    let customer = &mut locked.customer;
                    let changed = customer.order_attention_line(suppressed, ordered_by, now)?;
                    if changed.is_empty() {
                        return Ok(Outcome::Commit(locked.customer));
                    }
                    transaction.update_customer(customer, now).await?;
                    let kind = EventKind::AttentionLineSet;
                    let event = app.event(&locked, &actor, kind, None, &changed)?;
                    transaction.insert_audit_event(&event).await?;
                    Ok(Outcome::Commit(locked.customer))
                })
            })
            .await
    }
}
